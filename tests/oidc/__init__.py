"""Signing in through an OpenID Connect provider, against one that runs."""
