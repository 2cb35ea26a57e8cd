"""How long a good backup counts: by what is expected of its source group."""

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from rm.shared.schedule import LOOK_AHEAD, RUNS_LOOKED_AT, Timing, due_between, zone_named

PATIENCE = 1.5
"""A group is late when one and a half times its expected interval has passed."""
INTERMITTENT = timedelta(days=7)
UNSCHEDULED = timedelta(hours=26)
LEAST = timedelta(hours=1)
"""No group is late sooner, however often it is to run: a run itself takes a while."""


def stale_after(
    *, mode: str, interval: timedelta | None, jitter: timedelta = timedelta(0), override_hours: int | None = None
) -> timedelta:
    """How long a good backup counts; `interval` is None for a group that no schedule runs."""
    if override_hours is not None:
        return timedelta(hours=override_hours)
    if interval is None:
        return UNSCHEDULED
    expected = max(interval * PATIENCE + jitter, LEAST)
    return max(expected, INTERMITTENT) if mode == "intermittent" else expected


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
