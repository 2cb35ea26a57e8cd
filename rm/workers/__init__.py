"""When background work happens; services hold what it does."""
