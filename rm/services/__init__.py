"""Use cases: the only code that changes data, one module per noun."""
