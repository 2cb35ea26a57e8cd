"""Updating this agent: from an order to a committed release, or back to the one before."""
