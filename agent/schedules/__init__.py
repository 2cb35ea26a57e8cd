"""The schedules that this host runs by itself."""
