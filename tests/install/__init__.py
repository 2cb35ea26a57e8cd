"""install.sh: read from the server, run for real below a directory."""
