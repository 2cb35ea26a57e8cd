"""The agent of restic-manager: runs on every host, dials out to the server, drives restic."""
