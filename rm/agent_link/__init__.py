"""The server's end of the agents' WebSocket."""
