"""The secret that an agent's request carries."""

from flask import request


def secret() -> str:
    """What stands behind `Authorization: Bearer`; empty when nothing does."""
    scheme, _, found = request.headers.get("Authorization", "").partition(" ")
    return found.strip() if scheme.lower() == "bearer" else ""
