"""The rows, in the order in which they run; each is a function from its size to a Row."""
