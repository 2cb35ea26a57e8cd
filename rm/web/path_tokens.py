"""Paths in addresses and forms: as they are where they survive that, else encoded, so that each comes back exactly."""

import base64
import binascii
from urllib.parse import quote

MAX_PLAIN = 1500
MAX_TOKEN = 6500
"""An address line may have 8,190 characters; see gunicorn.conf.py."""

_MARK = "~"


def token(path: str) -> str:
    """What stands for a path or name; browsers change line ends in forms, and an address must not be too long."""
    is_plain = path.isprintable() and not path.startswith(_MARK) and len(quote(path)) <= MAX_PLAIN
    if is_plain:
        return path
    return _MARK + base64.urlsafe_b64encode(path.encode("utf-8", "replace")).decode().rstrip("=")


def path_of(text: str) -> str:
    """The path or name that a token stands for; empty for one that stands for nothing."""
    if not text.startswith(_MARK):
        return text
    body = text[len(_MARK) :]
    try:
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
