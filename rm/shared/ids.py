"""Identifiers: ULIDs, which sort by the moment they were made."""

import os
import re
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_ulid(at_ms: int | None = None) -> str:
    """A fresh 26-character ULID for the given Unix time in milliseconds (default: now)."""
    return ulid(time.time_ns() // 1_000_000 if at_ms is None else at_ms, int.from_bytes(os.urandom(10), "big"))


def ulid(at_ms: int, tail: int) -> str:
    """The ULID of a Unix time in milliseconds and of 80 bits."""
    return "".join(
        [
            _PAIRS[at_ms >> 40 & 1023], _PAIRS[at_ms >> 30 & 1023], _PAIRS[at_ms >> 20 & 1023],
            _PAIRS[at_ms >> 10 & 1023], _PAIRS[at_ms & 1023],
            _PAIRS[tail >> 70 & 1023], _PAIRS[tail >> 60 & 1023], _PAIRS[tail >> 50 & 1023],
            _PAIRS[tail >> 40 & 1023], _PAIRS[tail >> 30 & 1023], _PAIRS[tail >> 20 & 1023],
            _PAIRS[tail >> 10 & 1023], _PAIRS[tail & 1023],
        ]
    )  # fmt: skip


def milliseconds_of(ulid: str) -> int:
    """The Unix time, in milliseconds, that a ULID begins with."""
    value = 0
    for letter in ulid[:10]:
        value = value * 32 + _ALPHABET.index(letter)
    return value


def is_ulid(text: object) -> bool:
    """Whether `text` is a ULID in its canonical, upper-case form."""
    return isinstance(text, str) and _ULID.fullmatch(text) is not None
