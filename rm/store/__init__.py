"""SQLite: the one file that holds everything, its models, named queries and migrations."""
