"""How the agent becomes one file."""
