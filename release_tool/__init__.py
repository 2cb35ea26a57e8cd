"""`rm-release`: builds, signs and verifies releases of the agent, where the operator keeps the keys."""
