"""Secrets that are shown once and stored as a hash."""

import hashlib
import secrets


def make(prefix: str) -> str:
    """A fresh secret of 256 bits that says what it is for."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def hashed(secret: str) -> str:
    """What is stored of a secret. Plain sha256 is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
