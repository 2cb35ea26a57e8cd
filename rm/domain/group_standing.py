"""How a source group stands at this moment: its verdict, with what nobody stores because it moves all the time."""

from dataclasses import dataclass
from datetime import datetime

from rm.domain.group_verdict import CALM


@dataclass(frozen=True)
class OpenRun:
    """A backup of the group that is not over; `waits_for` says why it waits, in the queue or on the host."""

    is_running: bool
    since: datetime
    is_waiting: bool = False
    waits_for: str = ""


@dataclass(frozen=True)
class SchedulesOfHost:
    """Whether a host runs the schedules that it is to run."""

    can_run: bool
    has_repository: bool
    wanted: int
    applied: int
    problem: str = ""

    @property
    def remark(self) -> str:
        """What is to be said about that beside each verdict; empty when all is well."""
        if not self.can_run:
            return "Its agent is too old to run schedules: update it."
        if not self.has_repository:
            return "Without a repository its schedules do not run."
        if self.problem:
            return f"The host could not take over its schedules: {self.problem}"
        if self.applied != self.wanted:
            return "The host has not taken over its newest schedules yet."
        return ""


@dataclass(frozen=True)
class Standing:
    """A verdict as it is to be shown at this moment."""

    code: str
    text: str
    since: datetime | None
    next_at: datetime | None = None


def seen(
    kept: Standing, *, late_at: datetime | None, mode: str, open_run: OpenRun | None, is_online: bool,
    last_seen_at: datetime | None, now: datetime,
) -> Standing:  # fmt: skip
    """A kept verdict together with what nobody stores: the run that is open, sleep, and the time since it was kept."""
    next_at = kept.next_at if kept.next_at is not None and kept.next_at > now else None
    if open_run is not None and open_run.is_running:
        return _running(open_run, is_online=is_online)
    if late_at is not None and now >= late_at and (kept.code in CALM or not kept.code):
        return Standing("late", "No good backup came in the expected time.", late_at, next_at)
    if kept.code not in CALM:
        return Standing(kept.code, kept.text, kept.since, next_at)
    if open_run is not None:
        what = open_run.waits_for or ("about to start" if is_online else "it starts when the host connects")
        return Standing("waits", f"Ordered: {what}.", open_run.since, next_at)
    if not is_online and mode == "intermittent":
        return Standing("asleep", f"The host is asleep. {kept.text}", last_seen_at or kept.since, next_at)
    if not is_online and kept.code in ("running", "waits"):
        return Standing(kept.code, f"{kept.text} That is as far as known: the host is silent.", kept.since, next_at)
    return Standing(kept.code, kept.text, kept.since, next_at)


def _running(run: OpenRun, *, is_online: bool) -> Standing:
    if run.is_waiting:
        return Standing("waits", f"The run waits for {run.waits_for or 'its turn'}".rstrip(".") + ".", run.since)
    if not is_online:
        return Standing("running", "Runs, as far as known: the connection to the host is lost.", run.since)
    return Standing("running", "Runs now.", run.since)
