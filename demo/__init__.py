"""The product at work on one machine, for real: what `make demo` runs."""
