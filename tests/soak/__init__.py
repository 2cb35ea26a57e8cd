"""The soak: that its account finds what was lost or doubled, and that a small one runs."""
