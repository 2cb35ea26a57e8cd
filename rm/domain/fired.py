"""Runs that a host's own schedules fired: which reports of them are believed."""

from datetime import datetime, timedelta

from rm.shared import ids

MAX_OPEN = 50
MAX_A_DAY = 14_400
"""Fifty groups, each every five minutes."""
AHEAD = timedelta(days=1)
BEFORE_ENROLMENT = timedelta(days=1)
"""A host's clock may be wrong by as much when it gets its first schedule."""
TOLERANCE = timedelta(minutes=1)


def problem(
    *, job_id: str, kind: str | None, due_at: datetime | None, enrolled_at: datetime, now: datetime
) -> str | None:
    """Why a report of an unknown job is not that of a fired run; None when it is.

    The id carries the time at which the run was due, so that jobs sort by it however late they are reported.
    """
    if kind is None or due_at is None:
        return "This server does not know that job."
    if kind != "backup":
        return "An agent fires only backups by itself."
    if due_at > now + AHEAD:
        return "This run is due more than a day ahead of the server's clock. Check the clock of the host."
    if due_at < enrolled_at - BEFORE_ENROLMENT:
        return "This run is due before its host was enrolled. Check the clock of the host."
    if abs(ids.milliseconds_of(job_id) / 1000 - due_at.timestamp()) > TOLERANCE.total_seconds():
        return "The id of this run does not carry the time at which it was due."
    return None
