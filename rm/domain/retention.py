"""Which snapshots a retention keeps: restic's own rules, so that a preview says what `restic forget` will do.

Restic counts hours, days, weeks, months and years by the clock of the machine that made the snapshot, and everything
"within" back from the newest snapshot that is not in the future. Since 0.16 a rule that still has counts left keeps
the oldest snapshot besides, since 0.17 also a rule "within" that reaches back to it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any

from rm.shared.retention import COUNTS, MOST, PERIODS
from rm.shared.schedule import Timing, upcoming
from rm.shared.words import counted

LONGEST_YEARS = 100
RUNS_LOOKED_AT = 60
OLDEST_OF_COUNTED = (0, 16)
OLDEST_OF_WITHIN = (0, 17)
NEWEST_RESTIC = (1, 0)

_PERIOD = re.compile(r"(?:(\d{1,6})y)?(?:(\d{1,6})m)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?", re.ASCII)
_LENGTHS = {
    "hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7),
    "monthly": timedelta(days=31), "yearly": timedelta(days=366),
}  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """A snapshot as the rules see it: when it was taken, and how far the clock that recorded it was from UTC."""

    id: str
    time: datetime
    utc_offset_minutes: int | None = None


@dataclass(frozen=True)
class Kept:
    """A snapshot that stays, with the rules that keep it, as restic calls them."""

    id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What stays and what goes, both newest first."""

    kept: tuple[Kept, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Period:
    """A length of time as restic writes it: 1y6m30d12h."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number)

    def in_words(self) -> str:
        """30 days; 1 year 6 months"""
        parts = ((self.years, "year"), (self.months, "month"), (self.days, "day"), (self.hours, "hour"))
        return " ".join(counted(number, unit) for number, unit in parts if number)

    def roughly(self) -> timedelta:
        return timedelta(days=self.years * 365.25 + self.months * 30.44 + self.days, hours=self.hours)


@dataclass(frozen=True)
class Policy:
    """What is kept: how many of each kind, and everything or one of each within a time; without any, all is kept."""

    counts: tuple[tuple[str, int], ...] = ()
    periods: tuple[tuple[str, Period], ...] = ()

    @classmethod
    def of(cls, retention: dict[str, Any]) -> "Policy":
        """The policy that a source group's retention means; raises ValueError with the problem."""
        wrong = problem(retention)
        if wrong is not None:
            raise ValueError(wrong)
        given = normal(retention)
        counts = tuple((name, given[name]) for name in COUNTS if name in given)
        periods = ((name, _period(given[name])) for name in PERIODS if name in given)
        return cls(counts=counts, periods=tuple((name, found) for name, found in periods if found is not None))

    @property
    def is_empty(self) -> bool:
        return not self.counts and not self.periods


def normal(retention: dict[str, Any]) -> dict[str, Any]:
    """The retention without what says nothing: zeros, empty texts and nulls; names in one order."""
    said = {name: value for name, value in retention.items() if value not in (None, "", 0, "0")}
    order = [*COUNTS, *PERIODS]
    return {name: said[name] for name in sorted(said, key=lambda name: (name not in order, str(name)))}


def problem(retention: dict[str, Any]) -> str | None:
    """What is wrong with a retention, in a sentence; None for a good one, and for an empty one, which keeps all."""
    unknown = [str(name) for name in retention if name not in (*COUNTS, *PERIODS)]
    if unknown:
        return f"{unknown[0][:50]} is no rule of a retention. There are {', '.join((*COUNTS, *PERIODS))}."
    for name in COUNTS:
        value = retention.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            return f"{name} is a whole number from 0 to {MOST:,}; 0 leaves the rule out."
    for name in PERIODS:
        value = retention.get(name)
        if value in (None, ""):
            continue
        found = _period(value)
        if found is None:
            return f"{name} is a time such as 30d, 12h or 1y6m: years y, months m, days d, hours h, in this order."
        if found.roughly() > timedelta(days=LONGEST_YEARS * 366):
            return f"{name} is at most {LONGEST_YEARS} years."
    if retention and not normal(retention):
        return "This would keep nothing. Set at least one rule, or leave all of them blank to keep everything."
    return None


def describe(policy: Policy) -> str:
    """The policy in words: Keeps the last 3, 7 daily, 4 weekly, and everything of the last 30 days."""
    if policy.is_empty:
        return "Keeps every snapshot."
    said = []
    for name, count in policy.counts:
        said.append(f"the last {count}" if name == "keep_last" else f"{count} {name.removeprefix('keep_')}")
    for name, period in policy.periods:
        what = "everything" if name == "keep_within" else f"{name.removeprefix('keep_within_')} ones"
        said.append(f"{what} of the last {period.in_words()}")
    return f"Keeps {_joined(said)}."


def unsatisfiable(retention: dict[str, Any], longest_gap: timedelta) -> str | None:
    """What a retention asks for that runs so far apart cannot give, in words; None when they can."""
    for name, value in normal(retention).items():
        period = _period(value) if name in PERIODS else None
        if name == "keep_within" and period is not None and period.roughly() < longest_gap:
            return (
                f"keeps everything of the last {period.in_words()}, but the schedule runs {_how_often(longest_gap)}:"
                " often only the newest snapshot stays"
            )
        length = _LENGTHS.get(name.rsplit("_", 1)[1])
        if length is None or length * 2 > longest_gap or value == 1:
            continue
        what = f"{value} {name.removeprefix('keep_')}" if period is None else f"{name.rsplit('_', 1)[1]} ones"
        return f"keeps {what}, but the schedule runs {_how_often(longest_gap)}"
    return None


def unsatisfiable_by(
    retention: dict[str, Any], timings: Sequence[Timing], *, now: datetime, zone: tzinfo
) -> str | None:
    """The same for schedules together: their closest runs count, so that nights and weekends do not mislead."""
    runs = sorted({run for timing in timings for run in upcoming(timing, after=now, zone=zone, count=RUNS_LOOKED_AT)})
    gaps = [later - run for run, later in pairwise(runs)]
    return unsatisfiable(retention, min(gaps)) if gaps else None


def apply(
    policy: Policy,
    snapshots: Sequence[Taken],
    *,
    now: datetime,
    zone: tzinfo = timezone.utc,
    restic: tuple[int, int] = NEWEST_RESTIC,
) -> Answer:
    """What `restic forget --group-by host` of this version keeps and removes of these snapshots.

    `zone` is that of the machine where restic runs; it counts for snapshots whose offset is not known, and for how
    long a day is when clocks change.
    """
    newest_first = sorted(snapshots, key=lambda taken: taken.time, reverse=True)
    if policy.is_empty:
        return Answer(kept=tuple(Kept(taken.id, ("policy is empty",)) for taken in newest_first), removed=())
    rules = _rules(policy, newest_first, now, zone, restic)
    kept, removed = [], []
    for number, taken in enumerate(newest_first):
        wall = _wall(taken, zone)
        is_oldest = number == len(newest_first) - 1
        reasons = tuple(reason for rule in rules if (reason := rule.judged(taken, wall, number, is_oldest)))
        if reasons:
            kept.append(Kept(taken.id, reasons))
        else:
            removed.append(taken.id)
    return Answer(kept=tuple(kept), removed=tuple(removed))


@dataclass
class _Rule:
    """One rule while it goes through the snapshots, newest first."""

    words: str
    bucket: Callable[[datetime, int], object]
    keeps_oldest: bool
    left: int | None = None
    since: datetime | None = None
    last: object = None

    def judged(self, taken: Taken, wall: datetime, number: int, is_oldest: bool) -> str:
        """Why this rule keeps the snapshot; empty if it does not."""
        if self.left == 0 or (self.since is not None and taken.time <= self.since):
            return ""
        value = self.bucket(wall, number)
        is_next = value != self.last
        if not is_next and not (is_oldest and self.keeps_oldest):
            return ""
        self.last = value
        if self.left is not None:
            self.left -= 1
        return self.words if is_next else f"oldest {self.words}"


def _rules(
    policy: Policy, newest_first: Sequence[Taken], now: datetime, zone: tzinfo, restic: tuple[int, int]
) -> list[_Rule]:
    latest = next((taken for taken in newest_first if taken.time < now), None)
    rules = []
    for name, count in policy.counts:
        unit = name.removeprefix("keep_")
        rules.append(_Rule(f"{unit} snapshot", _BUCKETS[unit], restic >= OLDEST_OF_COUNTED, left=count))
    for name, period in policy.periods:
        since = _back(latest, period, zone) if latest is not None else None
        unit = name.removeprefix("keep_within").removeprefix("_")
        words = f"{unit} within {period}" if unit else f"within {period}"
        rules.append(_Rule(words, _BUCKETS[unit or "last"], restic >= OLDEST_OF_WITHIN, since=since))
    return rules


_BUCKETS: dict[str, Callable[[datetime, int], object]] = {
    "last": lambda wall, number: number,
    "hourly": lambda wall, number: (wall.date(), wall.hour),
    "daily": lambda wall, number: wall.date(),
    "weekly": lambda wall, number: tuple(wall.isocalendar())[:2],
    "monthly": lambda wall, number: (wall.year, wall.month),
    "yearly": lambda wall, number: wall.year,
}


def _period(value: object) -> Period | None:
    found = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    period = Period(*(int(number or 0) for number in found.groups()))
    return period if str(period) else None


def _wall(taken: Taken, zone: tzinfo) -> datetime:
    """The time on the clock of the machine that took it."""
    if taken.utc_offset_minutes is None:
        return taken.time.astimezone(zone)
    return taken.time.astimezone(timezone(timedelta(minutes=taken.utc_offset_minutes)))


def _back(latest: Taken, period: Period, zone: tzinfo) -> datetime:
    """So long before the newest snapshot, by the calendar, as Go's AddDate counts it."""
    wall = _wall(latest, zone)
    local = latest.time.astimezone(zone)
    is_local = local.utcoffset() == wall.utcoffset()
    months = wall.year * 12 + wall.month - 1 - period.years * 12 - period.months
    first = wall.replace(year=months // 12, month=months % 12 + 1, day=1, tzinfo=None)
    naive = first + timedelta(days=wall.day - 1 - period.days)
    offset = wall.utcoffset() or timedelta(0)
    if is_local:
        # Go guesses the offset at the wall clock taken for UTC, and corrects the guess once.
        guess = naive.replace(tzinfo=timezone.utc).astimezone(zone).utcoffset() or timedelta(0)
        offset = (naive - guess).replace(tzinfo=timezone.utc).astimezone(zone).utcoffset() or timedelta(0)
    return (naive - offset).replace(tzinfo=timezone.utc) - timedelta(hours=period.hours)


def _how_often(gap: timedelta) -> str:
    if gap == timedelta(days=1):
        return "once a day"
    if gap == timedelta(days=7):
        return "once a week"
    hours = round(gap.total_seconds() / 3600)
    return f"every {counted(round(hours / 24), 'day')}" if hours >= 48 else f"every {counted(hours, 'hour')}"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
