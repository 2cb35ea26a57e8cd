"""Identifiers: ULIDs, which sort by the moment they were made."""

import re
import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_ulid(at_ms: int | None = None) -> str:
    """A fresh 26-character ULID for the given Unix time in milliseconds (default: now)."""
    value = ((time.time_ns() // 1_000_000 if at_ms is None else at_ms) << 80) | secrets.randbits(80)
    digits = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def is_ulid(text: object) -> bool:
    """Whether `text` is a ULID in its canonical, upper-case form."""
    return isinstance(text, str) and _ULID.fullmatch(text) is not None
