"""Checked fields of a message: each says what it accepts, how much of it, and what it means."""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rm.shared import ids, instants

MAX_DEPTH = 16
_UNREADABLE = re.compile(r"[\ud800-\udfff\x00]")
_CANONICAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class FieldError(ValueError):
    """A value that its field does not accept; the text says which and why."""


def readable(text: str) -> str:
    """The text, as long as before, with what UTF-8 cannot carry (lone surrogates, NUL) replaced by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True)
class Text:
    """A string of at most `limit` characters; what UTF-8 cannot carry is replaced."""

    limit: int
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise FieldError("must be a text")
        if len(value) > self.limit:
            raise FieldError(f"is longer than {self.limit} characters")
        if self.choices and value not in self.choices:
            raise FieldError(f"must be one of {', '.join(self.choices)}")
        return readable(value)

    def describe(self) -> str:
        return " \\| ".join(f"`{c}`" for c in self.choices) if self.choices else f"text ≤ {self.limit}"


@dataclass(frozen=True)
class Ulid:
    """A ULID."""

    def check(self, value: Any) -> str:
        if not ids.is_ulid(value):
            raise FieldError("must be a ULID")
        return str(value)

    def describe(self) -> str:
        return "ULID"


@dataclass(frozen=True)
class Instant:
    """A moment as ISO 8601 text in UTC."""

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > 40:
            raise FieldError("must be an ISO 8601 time in UTC")
        try:
            moment = instants.from_text(value)
            # Agents write it as we do, and a busy log has one on every line: formatting it anew would say the same.
            return value if _CANONICAL.fullmatch(value) else instants.to_text(moment)
        except (ValueError, OverflowError) as error:
            raise FieldError("must be an ISO 8601 time in UTC") from error

    def describe(self) -> str:
        return "ISO 8601 time, UTC"


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds."""

    low: int = 0
    high: int = 2**53 - 1

    def check(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldError("must be a whole number")
        if not self.low <= value <= self.high:
            raise FieldError(f"must lie between {self.low} and {self.high}")
        return value

    def describe(self) -> str:
        return (
            f"whole number {self.low} … 2^53-1" if self.high == 2**53 - 1 else f"whole number {self.low} … {self.high}"
        )


@dataclass(frozen=True)
class Number:
    """A finite number between two bounds."""

    low: float = 0.0
    high: float = 1e18

    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FieldError("must be a number")
        if not self.low <= value <= self.high:
            raise FieldError(f"must lie between {self.low:g} and {self.high:g}")
        return float(value)

    def describe(self) -> str:
        return f"number {self.low:g} … {self.high:g}"


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise FieldError("must be true or false")
        return value

    def describe(self) -> str:
        return "boolean"


@dataclass(frozen=True)
class Listing:
    """A list of at most `limit` values of one kind."""

    of: "Check"
    limit: int

    def check(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise FieldError("must be a list")
        if len(value) > self.limit:
            raise FieldError(f"holds more than {self.limit} values")
        return [self.of.check(item) for item in value]

    def describe(self) -> str:
        return f"list ≤ {self.limit} of {self.of.describe()}"


@dataclass(frozen=True)
class Record:
    """An object with the fields of a dataclass; unknown fields are ignored."""

    type: type

    def check(self, value: Any) -> Any:
        return build(self.type, value)

    def describe(self) -> str:
        return f"{{{', '.join(f.name for f in dataclasses.fields(self.type))}}}"


@dataclass(frozen=True)
class Anything:
    """Any JSON object of at most `limit` entries in all and 16 levels."""

    limit: int = 1000

    def check(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise FieldError("must be an object")
        left = [self.limit]
        return {readable(key): self._clean(inner, MAX_DEPTH - 1, left) for key, inner in value.items()}

    def _clean(self, value: Any, depth: int, left: list[int]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise FieldError(f"holds more than {self.limit} values")
        if depth == 0:
            raise FieldError(f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            return {readable(k): self._clean(v, depth - 1, left) for k, v in value.items()}
        if isinstance(value, list):
            return [self._clean(v, depth - 1, left) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise FieldError("holds a number without end")
        return readable(value) if isinstance(value, str) else value

    def describe(self) -> str:
        return "object"


@dataclass(frozen=True)
class Optional:
    """The value or null."""

    of: "Check"

    def check(self, value: Any) -> Any:
        return None if value is None else self.of.check(value)

    def describe(self) -> str:
        return f"{self.of.describe()}, or null"


Check = Text | Ulid | Instant | Whole | Number | Flag | Listing | Record | Anything | Optional


def field(check: Check, about: str = "", **default: Any) -> Any:
    """A dataclass field that `build` checks; without `default` or `default_factory` it must be present."""
    return dataclasses.field(metadata={"check": check, "about": about}, **default)


def build(type_: type, value: Any) -> Any:
    """An instance of the dataclass from a JSON object; raises FieldError naming the field that is wrong."""
    if not isinstance(value, dict):
        raise FieldError("must be an object")
    found: dict[str, Any] = {}
    for name, check, is_required in _plan(type_):
        if name in value:
            try:
                found[name] = check(value[name])
            except FieldError as error:
                raise FieldError(f"{name} {error}") from error
        elif is_required:
            raise FieldError(f"{name} is missing")
    return type_(**found)


@functools.cache
def _plan(type_: type) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Name, check and whether it must be there, for each field: looked up once and not for every message."""
    return tuple(
        (
            spec.name,
            spec.metadata["check"].check,
            spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING,
        )
        for spec in dataclasses.fields(type_)
    )
