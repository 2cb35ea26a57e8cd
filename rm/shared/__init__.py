"""All that server and agent share: messages, identifiers, instants; pure Python, no framework."""
