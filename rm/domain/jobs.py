"""What a job may do next, and what its end means."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.shared.protocol import OUTCOMES

QUEUE_LIFETIME = timedelta(hours=24)
SILENCE_UNTIL_LOST = timedelta(hours=24)
ORDERABLE = ("init", "backup", "snapshots", "check", "unlock", "prune")
CHANGING_ALL = ("init", "unlock", "prune")
"""Kinds of orders that change a repository for every host that uses it."""
MAX_PARTS = 256
UPDATE = "update"
"""The kind of job that has rules of its own, in rm.domain.update_attempt."""

NAMING_FILES = ("restore", "diff")
"""Kinds of jobs whose log, command and message name what is in snapshots."""

NAMING_SNAPSHOTS = ("snapshots", "check", "forget", "prune", "unlock")
"""Kinds of jobs whose log may name snapshots and hosts of everybody who uses the repository."""

APPLY = "apply"
REPEAT = "repeat"
CONFLICT = "conflict"


@dataclass(frozen=True)
class JobFacts:
    """What the rules need to know of a job."""

    state: str
    outcome: str | None
    is_dispatched: bool
    is_cancel_requested: bool


def to_read(kind: str) -> str:
    """The permission that it takes to read the log, command and message of a job of that kind."""
    return "snapshots.browse" if kind in NAMING_FILES else "fleet.view"


def on_started(job: JobFacts) -> str:
    """What a report of a start means: APPLY it, REPEAT (known already), or CONFLICT."""
    if job.state == "queued":
        return APPLY
    return REPEAT


def on_finished(job: JobFacts, outcome: str) -> str:
    """What a report of an end means. Evidence corrects a guess: only `lost` may still change."""
    if outcome not in OUTCOMES:
        return CONFLICT
    if job.state != "finished":
        return APPLY
    if job.outcome == outcome:
        return REPEAT
    return APPLY if job.outcome == "lost" else CONFLICT


def on_cancel(job: JobFacts) -> str:
    """What a wish to cancel means: `now` ends it here, `ask` asks the host, `asked` it was asked already, `over`."""
    if job.state == "finished":
        return "over"
    if not job.is_dispatched:
        return "now"
    return "asked" if job.is_cancel_requested else "ask"


def subset_problem(subset: str) -> str | None:
    """What is wrong with the part of the data that a check is to read, written n/t; None for a good or an empty one."""
    if not subset:
        return None
    found = re.fullmatch(r"([1-9]\d{0,2})/([1-9]\d{0,2})", subset)
    if found is None or not int(found[1]) <= int(found[2]) <= MAX_PARTS:
        return f"Write n/t, for example 1/10: part n of t equal parts, with t at most {MAX_PARTS}. 1/1 reads all data."
    return None


def expires_at(created_at: datetime) -> datetime:
    """When a job that never left the queue is given up."""
    return created_at + QUEUE_LIFETIME


def sample_at(seconds: float) -> int:
    """The grid point of a throughput sample: each second at first, every ten minutes in the end."""
    for until, grid in ((120, 1), (1200, 10), (7200, 60)):
        if seconds < until:
            return int(seconds // grid * grid)
    return int(seconds // 600 * 600)
