"""How long a good backup counts: by what is expected of its source group."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from rm.shared.schedule import Timing, due_between, zone_named


@dataclass(frozen=True)
class Expectations:
    """A group is late when so many times its expected interval has passed; an intermittent one not before so long."""

    factor: float = 1.5
    intermittent: timedelta = timedelta(days=7)


USUAL = Expectations()
UNSCHEDULED = timedelta(hours=26)
LEAST = timedelta(hours=1)
"""No group is late sooner, however often it is to run: a run itself takes a while."""
LOOK_AHEAD = timedelta(days=400)
RUNS_LOOKED_AT = 500


def stale_after(
    *, mode: str, interval: timedelta | None, jitter: timedelta = timedelta(0), override_hours: int | None = None,
    expected: Expectations = USUAL,
) -> timedelta:  # fmt: skip
    """How long a good backup counts; `interval` is None for a group that no schedule runs."""
    if override_hours is not None:
        return timedelta(hours=override_hours)
    if interval is None:
        return UNSCHEDULED
    counts = max(interval * expected.factor + jitter, LEAST)
    return max(counts, expected.intermittent) if mode == "intermittent" else counts


def expected_interval(timings: tuple[Timing, ...], *, zone_name: str, now: datetime) -> timedelta | None:
    """The longest time between two runs of all these timings together; None without any."""
    if not timings:
        return None
    # It moves by hours a year at most, so a month's worth of askers shares one answer.
    month = now.astimezone(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return _expected(tuple(sorted(timings, key=lambda one: (one.cron, one.every_minutes))), zone_name, month)


@lru_cache(maxsize=4096)
def _expected(timings: tuple[Timing, ...], zone_name: str, since: datetime) -> timedelta:
    steps = [timedelta(minutes=one.every_minutes) for one in timings if not one.cron]
    crons = [one for one in timings if one.cron]
    if crons:
        steps.append(_longest_gap(crons, zone_name, since))
    return min(steps)


def _longest_gap(crons: list[Timing], zone_name: str, since: datetime) -> timedelta:
    zone, until = zone_named(zone_name), since + LOOK_AHEAD
    longest, before = timedelta(0), None
    merged: Iterator[datetime] = heapq.merge(
        *(due_between(one, after=since, until=until, zone=zone) for one in crons)
    )  # fmt: skip
    for count, due in enumerate(merged):
        if before is not None:
            longest = max(longest, due - before)
        before = due
        if count >= RUNS_LOOKED_AT * len(crons):
            break
    return longest or LOOK_AHEAD
