"""How a repository grew: a drawing of its size over time, and the same as words and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from rm.store import maintenance
from rm.store.models import Repository, RepositoryDay
from rm.web import filters

RANGES = ((30, "30 days"), (90, "90 days"), (365, "1 year"))
WIDTH, HEIGHT = 600, 120
ROWS_SHOWN = 30


@dataclass(frozen=True)
class Growth:
    """The figure of today, the drawing, and what to read in place of it; without sizes there is no line."""

    days: int
    ranges: tuple[tuple[str, str, bool], ...]
    total_bytes: int | None
    snapshot_count: int | None
    line: str
    area: str
    label: str
    top: str
    scale: tuple[str, str]
    rows: list[RepositoryDay]
    width: int = WIDTH
    height: int = HEIGHT


def asked_for(text: str) -> int:
    """The range that an address asks for; 30 days for what makes no sense."""
    return int(text) if text in {str(days) for days, _ in RANGES} else RANGES[0][0]


def growth(repository: Repository, *, days: int, now: datetime) -> Growth:
    """What is known of the repository's size over so many days until now."""
    first = now.date() - timedelta(days=days - 1)
    found = maintenance.list_days(repository.id, since=first.isoformat())
    points = [(date.fromisoformat(row.day), row.total_bytes) for row in found if row.total_bytes is not None]
    line, area = paths(points, first=first, days=days)
    page = f"/repositories/{repository.id}"
    return Growth(
        days=days,
        ranges=tuple((word, f"{page}?days={count}#repository-growth", count == days) for count, word in RANGES),
        total_bytes=repository.total_bytes,
        snapshot_count=repository.snapshot_count,
        line=line,
        area=area,
        label=_label(points),
        top=filters.size(max(size for _, size in points)) if points else "",
        scale=(f"{first:%-d %b %Y}", "today"),
        rows=_thinned(found),
    )


def paths(points: Sequence[tuple[date, int]], *, first: date, days: int) -> tuple[str, str]:
    """The line through the sizes, from zero at the bottom, and the area under it; empty for none."""
    if not points:
        return "", ""
    top = max(size for _, size in points) or 1
    step = WIDTH / max(1, days - 1)
    places = [((day - first).days * step, 2 + (HEIGHT - 4) * (1 - size / top)) for day, size in points]
    if len(places) == 1:
        x, y = places[0]
        return f"M{x:.1f} {y:.1f}h.1", ""
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return line, f"{line}L{places[-1][0]:.1f} {HEIGHT}L{places[0][0]:.1f} {HEIGHT}z"


def _label(points: Sequence[tuple[date, int]]) -> str:
    if not points:
        return "No size is known for this time."
    (first, before), (last, after) = points[0], points[-1]
    if len(points) == 1:
        return f"{filters.size(after)} on {last:%-d %b %Y}; nothing else is known for this time."
    verb = "grew" if after > before else "shrank" if after < before else "stayed"
    size = f"from {filters.size(before)} to {filters.size(after)}" if after != before else f"at {filters.size(after)}"
    return f"The repository {verb} {size} between {first:%-d %b %Y} and {last:%-d %b %Y}."


def _thinned(rows: list[RepositoryDay]) -> list[RepositoryDay]:
    """At most so many days, the newest first and always among them."""
    step = -(-len(rows) // ROWS_SHOWN) or 1
    return rows[::-1][::step]
