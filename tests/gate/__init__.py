"""The gate before a release: it follows its predecessor, can be put back, and can be followed."""
