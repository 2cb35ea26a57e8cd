"""Hosts of their own: Debian booted with its own systemd, and the agent installed on it."""
