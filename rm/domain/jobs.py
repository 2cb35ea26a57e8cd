"""What a job may do next, and what its end means."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.shared.protocol import OUTCOMES

QUEUE_LIFETIME = timedelta(hours=24)
SILENCE_UNTIL_LOST = timedelta(hours=24)
ORDERABLE = ("init", "backup", "snapshots")

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


def expires_at(created_at: datetime) -> datetime:
    """When a job that never left the queue is given up."""
    return created_at + QUEUE_LIFETIME


def sample_at(seconds: float) -> int:
    """The grid point of a throughput sample: each second at first, every ten minutes in the end."""
    for until, grid in ((120, 1), (1200, 10), (7200, 60)):
        if seconds < until:
            return int(seconds // grid * grid)
    return int(seconds // 600 * 600)
