"""Small drawings: paths of sparklines and words of the 30-day strip."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise

STRIP_CLASS = {"o": "ok", "w": "warning", "m": "missed", "f": "failed", "n": "none", "z": "asleep", "d": "due"}
STRIP_WORDS = {
    "o": "backed up", "w": "finished with warnings", "m": "a backup did not come", "f": "failed", "n": "nothing ran",
    "z": "host asleep",
    "d": "due later today",
}  # fmt: skip


DAY_PITCH, DAY_GAP = 7, 2
# Heights at which a day's mark is drawn; the line of the chart is at 13.5.
TRACE_LINES = {
    "o": ("6.5",), "w": ("2.5", "10.5"), "m": ("15.5", "21.5"), "f": ("18.5",), "n": ("13.5",), "z": ("7.5", "12.5"),
    "d": ("1", "12.5"),
}  # fmt: skip


def spark_path(points: Sequence[float], width: int, height: int, *, is_area: bool) -> str:
    """The SVG path of a line through the points, oldest first; closed along the bottom for the area under it."""
    if len(points) < 2:
        return ""
    low, high = min(points), max(points)
    span = (high - low) or 1
    step = width / (len(points) - 1)
    line = "M" + "L".join(
        f"{index * step:.1f} {1.5 + (height - 3) * (1 - (value - low) / span):.1f}"
        for index, value in enumerate(points)
    )
    return f"{line}L{width} {height}L0 {height}z" if is_area else line


def thinned(points: Sequence[float], most: int = 60) -> list[float]:
    """At most so many points: means of neighbours, so that a long run draws as fast as a short one."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    return [sum(points[a:b]) / (b - a) for a, b in pairwise(edges) if b > a]


def rates(samples: Sequence[tuple[int, int]]) -> list[float]:
    """Bytes per second between (seconds, bytes) samples."""
    return [max(0, later[1] - earlier[1]) / max(1, later[0] - earlier[0]) for earlier, later in pairwise(samples)]


def strip_days(codes: Sequence[str], now: datetime) -> tuple[dict[str, str], ...]:
    """One entry per day of a strip, oldest first: its class, and what to say about it."""
    return _strip_days("".join(codes), now.date())


@lru_cache(maxsize=2048)
def _strip_days(codes: str, today: date) -> tuple[dict[str, str], ...]:
    # Most hosts of a fleet have one of a few strips.
    first = today - timedelta(days=len(codes) - 1)
    return tuple(
        {
            "kind": STRIP_CLASS[code],
            "title": f"{(first + timedelta(days=index)).strftime('%-d %b')}: {STRIP_WORDS[code]}",
        }
        for index, code in enumerate(codes)
    )


def strip_trace(codes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """A strip as few lines: the kind of day, and the path along all days of it; the stylesheet dashes them."""
    return _strip_trace("".join(codes))


@lru_cache(maxsize=4096)
def _strip_trace(codes: str) -> tuple[tuple[str, str], ...]:
    # A run of equal days is one dashed line, which keeps a page of fifty strips below the weight of two photographs.
    paths: dict[str, list[str]] = {}
    at = 0
    for code, run in groupby(codes):
        count = len(list(run))
        paths.setdefault(STRIP_CLASS[code], []).extend(
            f"M{at * DAY_PITCH} {y}h{count * DAY_PITCH - DAY_GAP}" for y in TRACE_LINES[code]
        )
        at += count
    return tuple((kind, "".join(parts)) for kind, parts in paths.items())


def strip_summary(codes: Sequence[str]) -> str:
    """26 ok, 1 warning, 3 failed"""
    said = [f"{codes.count(code)} {word}" for code, word in STRIP_CLASS.items() if code in codes and code != "n"]
    return ", ".join(said) or "nothing yet"


def strip_scale(now: datetime) -> list[str]:
    """The dates under a wide strip of 30 days."""
    return [(now - timedelta(days=back)).strftime("%-d %b") for back in (29, 22, 15, 8)] + ["today"]
