"""Identifiers: ULIDs, which sort by the moment they were made."""

import re
import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_ulid(at_ms: int | None = None) -> str:
    """A fresh 26-character ULID for the given Unix time in milliseconds (default: now)."""
    return ulid(time.time_ns() // 1_000_000 if at_ms is None else at_ms, secrets.randbits(80))


def ulid(at_ms: int, tail: int) -> str:
    """The ULID of a Unix time in milliseconds and of 80 bits."""
    value = (at_ms << 80) | tail
    digits = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def milliseconds_of(ulid: str) -> int:
    """The Unix time, in milliseconds, that a ULID begins with."""
    value = 0
    for letter in ulid[:10]:
        value = value * 32 + _ALPHABET.index(letter)
    return value


def is_ulid(text: object) -> bool:
    """Whether `text` is a ULID in its canonical, upper-case form."""
    return isinstance(text, str) and _ULID.fullmatch(text) is not None
