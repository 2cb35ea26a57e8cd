"""When runs are due: cron expressions in a zone, intervals, and the jitter that spreads them.

Cron is read as Debian's cron reads it, also on the days when clocks change: a run at a fixed time happens once on
each of them (a time that is left out in spring runs right after the gap); one that runs every so often goes by real
time.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

SHORTEST = timedelta(minutes=5)


class ScheduleError(ValueError):
    """A schedule that cannot be run; the text says what to write instead."""


@dataclass(frozen=True)
class Timing:
    """A cron expression, or (with an empty one) every so many minutes while the host is on."""

    cron: str = ""
    every_minutes: int = 0

    def check(self) -> None:
        """Raise ScheduleError unless this can be run."""
        if bool(self.cron) == bool(self.every_minutes):
            raise ScheduleError("Give a cron expression or an interval, one of the two.")
        if not self.cron:
            if not SHORTEST <= timedelta(minutes=self.every_minutes) <= timedelta(days=365):
                raise ScheduleError("An interval lies between 5 minutes and 365 days.")
            return
        if len(self.cron.split()) != 5 or len(self.cron) > 200:
            raise ScheduleError(
                "A cron expression has five parts: minute, hour, day of month, month, day of week. 15 3 * * * is 03:15"
                " every day."
            )
        runs = _cron_runs(self.cron, datetime(2026, 1, 1, tzinfo=timezone.utc), timezone.utc)
        try:
            first = next(runs, None)
        except CronSimError as error:
            text = f"{str(error)[:1].lower()}{str(error)[1:]}"
            raise ScheduleError(f"This is no cron expression, or names a date that never comes: {text}.") from error
        if first is None:
            raise ScheduleError("There is no such date: this would never run.")
        for _ in range(60):
            second = next(runs, None)
            if second is None:
                return
            if second - first < SHORTEST:
                raise ScheduleError("Two runs lie less than 5 minutes apart. A backup every 5 minutes is the most.")
            first = second


def next_due(timing: Timing, *, after: datetime, zone: tzinfo, last: datetime | None = None) -> datetime | None:
    """The first instant (UTC) later than `after` at which a run is due; None if there is none.

    By interval it counts from `last`, the last run's due time, and without one from `after`.
    """
    if not timing.cron:
        step = timedelta(minutes=timing.every_minutes)
        due = (last or after) + step
        if due <= after:
            due += step * ((after - due) // step + 1)
        return due
    return next(due_between(timing, after=after, until=None, zone=zone), None)


def due_between(timing: Timing, *, after: datetime, until: datetime | None, zone: tzinfo) -> Iterator[datetime]:
    """The instants (UTC) of a cron expression later than `after` and not later than `until`, in order."""
    for due in _cron_runs(timing.cron, after, zone):
        if until is not None and due > until:
            return
        yield due


def upcoming(
    timing: Timing, *, after: datetime, zone: tzinfo, count: int = 5, last: datetime | None = None
) -> list[datetime]:
    """The next runs (UTC), for showing."""
    found: list[datetime] = []
    due = next_due(timing, after=after, zone=zone, last=last)
    while due is not None and len(found) < count:
        found.append(due)
        due = next_due(timing, after=due, zone=zone, last=due)
    return found


def describe(timing: Timing) -> str:
    """The timing in words: At 03:15 every day; Every 6 hours while the host is on."""
    if timing.cron:
        return CronSim(timing.cron, datetime(2026, 1, 1)).explain()  # noqa: DTZ001 - no instant is meant
    minutes = timing.every_minutes
    for size, word in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            count = minutes // size
            return f"Every {word if count == 1 else f'{count} {word}s'} while the host is on"
    return ""


def jitter(key: str, due: datetime, seconds: int) -> timedelta:
    """How long after `due` a run starts: less than `seconds`, and always the same for this key and time."""
    if seconds <= 0:
        return timedelta(0)
    digest = hashlib.sha256(f"{key} {due.timestamp():.0f}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % seconds)


def zone_named(name: str) -> tzinfo:
    """The zone of this name; UTC where it is not known."""
    try:
        return ZoneInfo(name) if name else timezone.utc
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc


def zone_of_this_machine(file: Path = Path("/etc/localtime")) -> tzinfo:
    """The zone that the machine's clock shows, from its own file: it needs no time zone database; else UTC."""
    try:
        with file.open("rb") as stream:
            return ZoneInfo.from_file(stream)
    except (OSError, ValueError):
        return timezone.utc


def _cron_runs(cron: str, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    last = after
    for found in CronSim(cron, after.astimezone(zone)):
        due = found.astimezone(timezone.utc)
        # in the hour that comes twice it may name the first one when only the second lies ahead
        if due > last:
            last = due
            yield due
