"""Measured claims: each row is a figure of the product beside a named ceiling, taken in the same run."""
