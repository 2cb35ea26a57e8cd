"""Which due times of a schedule have passed and which comes next; a group's share of `rm.shared.schedule`."""

import functools
from datetime import datetime, timedelta, tzinfo
from itertools import islice

from rm.shared.protocol import ScheduleSpec
from rm.shared.schedule import Timing, due_between, jitter, next_due

LOOK_BACK = timedelta(days=366)
MOST_AT_ONCE = 150_000


def timing(schedule: ScheduleSpec) -> Timing:
    """When the schedule runs."""
    return Timing(cron=schedule.cron, every_minutes=schedule.every_minutes)


def fingerprint(schedule: ScheduleSpec) -> str:
    """Equal for schedules that are due at the same times."""
    return schedule.cron or f"every {schedule.every_minutes}"


def passed(schedule: ScheduleSpec, *, handled: datetime, now: datetime, zone: tzinfo) -> list[datetime]:
    """The due times that lie behind `handled` and not behind now, at most those of a year.

    By interval there is one: nothing is due again before it has run.
    """
    if handled >= now:
        return []
    if not schedule.cron:
        due = handled + timedelta(minutes=schedule.every_minutes)
        return [due] if due <= now else []
    first = _first(schedule.cron, handled, zone)
    if first is None or first > now:
        return []
    after = max(handled, now - LOOK_BACK)
    return list(islice(due_between(timing(schedule), after=after, until=now, zone=zone), MOST_AT_ONCE))


def following(schedule: ScheduleSpec, *, handled: datetime, now: datetime, zone: tzinfo) -> datetime | None:
    """The next due time that lies ahead."""
    if not schedule.cron:
        return next_due(timing(schedule), after=now, zone=zone, last=handled)
    found = _first(schedule.cron, handled, zone)
    return found if found is None or found > now else next_due(timing(schedule), after=now, zone=zone)


def handled_by(schedule: ScheduleSpec, due: datetime, *, started: datetime, is_late: bool) -> datetime:
    """From where the schedule goes on after a run: an interval counts from a run that was late."""
    return started if is_late and not schedule.cron else due


def spread(schedule: ScheduleSpec, *, host: str, due: datetime, most: int | None = None) -> timedelta:
    """How long after the due time this host starts; at most so many seconds."""
    seconds = schedule.jitter_seconds if most is None else min(schedule.jitter_seconds, most)
    return jitter(f"{host} {schedule.id}{'' if most is None else ' late'}", due, seconds)


@functools.lru_cache(maxsize=512)
def _first(cron: str, after: datetime, zone: tzinfo) -> datetime | None:
    """What a look every few seconds asks again and again."""
    return next_due(Timing(cron=cron), after=after, zone=zone)
