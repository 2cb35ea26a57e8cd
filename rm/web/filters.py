"""How values read: sizes, durations, instants, counts, and texts that came from elsewhere."""

import re
import zlib
from datetime import datetime, timedelta, timezone

from flask import Flask

from rm.shared.words import counted

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
# direction marks can make a name read as another one
DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
SURROGATES = re.compile("[\ud800-\udfff]")
# A text of more is shown by its start, so that one message does not push all else off the screen.
LONG = 400
LONG_START = 280


def register(app: Flask) -> None:
    app.add_template_filter(size, "size")
    app.add_template_filter(duration, "duration")
    app.add_template_filter(iso, "iso")
    app.add_template_filter(absolute, "absolute")
    app.add_template_filter(minute, "minute")
    app.add_template_filter(clock, "clock")
    app.add_template_filter(whole, "whole")
    app.add_template_filter(percent, "percent")
    app.add_template_filter(clean, "clean")
    app.add_template_filter(clean_lines, "clean_lines")
    app.add_template_filter(counted, "count_of")
    app.add_template_filter(mark, "mark")
    app.add_template_filter(short, "short")
    app.add_template_filter(split_long, "split_long")


def size(count_of_bytes: object) -> str:
    """1536 → "1.5 KiB", in restic's own units; "unknown" for what is no number."""
    if not isinstance(count_of_bytes, (int, float)):
        return "unknown"
    value, unit = float(count_of_bytes), 0
    while abs(value) >= 1023.95 and unit < len(UNITS) - 1:
        value /= 1024
        unit += 1
    text = f"{value:.0f}" if unit == 0 or value >= 99.95 else f"{value:.1f}"
    return f"{text} {UNITS[unit]}"


def duration(span: float | timedelta | None) -> str:
    """188 → "3 min 8 s"; the two largest units, which is as exact as anybody reads."""
    if span is None:
        return "unknown"
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if 0 < seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole_seconds = max(0, round(seconds))
    parts: list[str] = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        amount, whole_seconds = divmod(whole_seconds, length)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def iso(instant: datetime) -> str:
    """For <time datetime>."""
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def absolute(instant: datetime) -> str:
    """28 Sep 2026, 10:46:00 UTC"""
    return instant.astimezone(timezone.utc).strftime("%-d %b %Y, %H:%M:%S UTC")


def minute(instant: datetime) -> str:
    """28 Sep 2026, 10:46 UTC"""
    return instant.astimezone(timezone.utc).strftime("%-d %b %Y, %H:%M UTC")


def clock(instant: datetime) -> str:
    """10:46:00, in UTC"""
    return instant.astimezone(timezone.utc).strftime("%H:%M:%S")


def whole(number: float | None) -> str:
    """66030 → "66,030" """
    return "unknown" if number is None else f"{number:,.0f}"


def percent(number: float | None) -> str:
    """Never 100 % before it is: 99.97 → "99 %"."""
    return "unknown" if number is None else f"{int(number)} %"


def clean(text: object) -> str:
    """A text that came from a host, with whatever could disguise it made visible."""
    shown = CONTROLS.sub(lambda match: _picture(match.group()), str(text))
    shown = DIRECTION_MARKS.sub(lambda match: f"\\u{ord(match.group()):04x}", shown)
    return SURROGATES.sub("\N{REPLACEMENT CHARACTER}", shown)


def clean_lines(text: str) -> str:
    """The same for a text that has lines: a command that is copied must stay what it is."""
    return "\n".join(clean(line) for line in text.split("\n"))


def mark(text: str) -> str:
    """Eight characters that stand for a text in a DOM id."""
    return f"{zlib.crc32(text.encode()):08x}"


def _picture(control: str) -> str:
    code = ord(control)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"


def short(text: object, length: int) -> str:
    """At most so many characters; what is cut ends in "…", behind a whole word where one ends near."""
    said = str(text or "")
    if len(said) <= length:
        return said
    kept = said[: length - 1]
    space = kept.rfind(" ")
    return (kept[:space] if space > length * 3 // 4 else kept).rstrip() + "…"


def split_long(text: object) -> tuple[str, str]:
    """What a page says at once of a text, and the whole of it where that was cut, to be opened."""
    said = str(text or "")
    return (said, "") if len(said) <= LONG else (short(said, LONG_START), said)
