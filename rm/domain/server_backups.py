"""Backups of the server's own database: when the next one is due, when the last is too old, and which are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.errors import Invalid

MIN_HOURS, MAX_HOURS = 1, 24 * 31
MIN_KEEP, MAX_KEEP = 1, 366
MAX_DIRECTORY = 1000
TRY_AGAIN = timedelta(minutes=15)
"""After a failure; the interval, where that is shorter."""


@dataclass(frozen=True)
class Plan:
    """What an operator wants: every so many hours, so many kept, in this directory; empty: <data>/backups."""

    every_hours: int = 24
    keep: int = 14
    directory: str = ""

    @property
    def interval(self) -> timedelta:
        return timedelta(hours=self.every_hours)

    def checked(self) -> "Plan":
        """This plan; raises Invalid with what is wrong with each field."""
        wrong: dict[str, str] = {}
        if not MIN_HOURS <= self.every_hours <= MAX_HOURS:
            wrong["every_hours"] = f"Between {MIN_HOURS} and {MAX_HOURS} hours."
        if not MIN_KEEP <= self.keep <= MAX_KEEP:
            wrong["keep"] = f"Between {MIN_KEEP} and {MAX_KEEP}."
        if self.directory:
            if len(self.directory) > MAX_DIRECTORY or not self.directory.isprintable():
                wrong["directory"] = f"At most {MAX_DIRECTORY} printable characters."
            elif not self.directory.startswith("/") or ".." in self.directory.split("/"):
                wrong["directory"] = "Write the whole path, beginning with /, without “..”."
        if wrong:
            raise Invalid(wrong)
        return self


@dataclass(frozen=True)
class Made:
    """A backup as it is known: when it began, and whether it is good; None while it is being made."""

    id: str
    started_at: datetime
    is_ok: bool | None


def next_at(made: Sequence[Made], plan: Plan, *, now: datetime) -> datetime:
    """When the next one begins; `made` is newest first, with those of a clock that was ahead left out of account."""
    past = [one for one in made if one.started_at <= now]
    if not past:
        return now
    last = past[0]
    wait = plan.interval if last.is_ok is not False else min(TRY_AGAIN, plan.interval)
    return last.started_at + wait


def old_since(made: Sequence[Made], plan: Plan, *, first_seen: datetime) -> datetime:
    """From when on the newest good one is too old; `first_seen` is when backups could first have been made."""
    good = [one.started_at for one in made if one.is_ok]
    return max(good, default=first_seen) + 2 * plan.interval


def to_remove(made: Sequence[Made], keep: int) -> list[Made]:
    """The good ones beyond the newest `keep`, never the only one; `made` is newest first."""
    good = [one for one in made if one.is_ok]
    kept = {one.id for one in good[: max(1, keep)]}
    return [one for one in made if one.is_ok and one.id not in kept]
