"""What the repository page says of maintenance: each kind's cadence, last result, next run, and the lease."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain import dispatch
from rm.domain import maintenance as rules
from rm.services.maintenance_outlook import Next, outlook
from rm.shared.words import counted
from rm.store.models import Job, MaintenancePolicy

TITLES = {"forget": "Forget old snapshots", "prune": "Prune", "check": "Check"}
EXPLAINED = {
    "forget": "Removes the snapshots that no retention keeps, each source group by its own.",
    "prune": "Frees the space of data that no snapshot needs any more.",
    "check": "Looks for damage: the structure each time, and the data in turns.",
}
RESULTS = {
    "succeeded": ("ok", "succeeded"), "warnings": ("warning", "done with warnings"), "failed": ("failed", "failed"),
    "cancelled": ("skip", "cancelled"), "lost": ("offline", "lost"), rules.GAVE_WAY: ("waiting", "gave way"),
    "time_box": ("failed", "ended by its time box"),
}  # fmt: skip
_LOOKS = {
    rules.RUN: "waiting", rules.OPEN: "running", rules.OFF: "paused", rules.BLOCKED: "warning",
    rules.NO_HOST: "offline", rules.NO_AGENT: "warning",
}  # fmt: skip
_WORDS = {
    rules.NOT_DUE: "due", rules.BACKING_OFF: "tried again", rules.RUN: "starts within a minute", rules.OFF: "off",
    rules.OPEN: "open now", rules.BLOCKED: "cannot run", rules.NO_HOST: "no host", rules.NO_AGENT: "old agents",
}  # fmt: skip
WAITS = "waits"
_SAY_IT_ALL = (rules.NOT_DUE, rules.BACKING_OFF, rules.RUN, rules.OFF)


@dataclass(frozen=True)
class Row:
    """One kind as the card shows it; `next_at` belongs to `next_word`, or to `next_text` where there is one."""

    kind: str
    title: str
    explained: str
    when: str
    box: str
    result: tuple[str, str] | None
    result_at: datetime | None
    result_text: str
    job_id: str | None
    next_kind: str
    next_word: str
    next_text: str
    next_at: datetime | None
    note: str
    can_run: bool


@dataclass(frozen=True)
class Lease:
    """Who works in the repository alone, who shares it, and who waits."""

    holder: Job | None
    sharers: list[Job]
    waiting: list[Job]


def rows(repository_id: str, *, now: datetime) -> list[Row]:
    """One row for each kind; raises NotFound."""
    return [_row(found) for found in outlook(repository_id, now=now)]


def lease(open_jobs: list[Job]) -> Lease:
    """What the open jobs of a repository, oldest first, mean for each other."""
    sent = [job for job in open_jobs if job.dispatched_at is not None]
    held_up = [job for job in sent if (job.progress or {}).get("phase") == "waiting"]
    return Lease(
        holder=next((job for job in sent if job.kind in dispatch.EXCLUSIVE and job not in held_up), None),
        sharers=[job for job in sent if job.kind in dispatch.SHARED and job not in held_up],
        waiting=held_up + [job for job in open_jobs if job.dispatched_at is None],
    )


def cadence(hours: int) -> str:
    """24 → "every day"; 168 → "every week"; 36 → "every 36 hours"."""
    for size, word in ((168, "week"), (24, "day"), (1, "hour")):
        if hours % size == 0:
            number = hours // size
            return f"every {word}" if number == 1 else f"every {counted(number, word)}"
    return ""


def span(minutes: int) -> str:
    """240 → "4 hours"; 90 → "90 minutes"."""
    return counted(minutes // 60, "hour") if minutes % 60 == 0 else counted(minutes, "minute")


def form_values(policy: MaintenancePolicy) -> dict[str, Any]:
    """The policy as its form shows it."""
    names = ("is_enabled", "every_hours", "window_from", "window_to", "timezone", "box_minutes", "parts")
    return {name: getattr(policy, name) for name in names}


def _row(found: Next) -> Row:
    policy, decision = found.policy, found.decision
    return Row(
        kind=policy.kind,
        title=TITLES[policy.kind],
        explained=EXPLAINED[policy.kind],
        when=_when(found),
        box=f"at most {span(policy.box_minutes)}",
        result=RESULTS.get(policy.last_outcome),
        result_at=policy.last_ended_at,
        result_text=policy.last_message,
        job_id=policy.last_job_id if policy.last_ended_at is not None or decision.code == rules.OPEN else None,
        next_kind=_LOOKS.get(decision.code, "waiting"),
        next_word=_WORDS.get(decision.code, WAITS),
        next_text="" if decision.code in _SAY_IT_ALL else decision.text.removeprefix(f"{WAITS} "),
        note=f"{found.note[:1].upper()}{found.note[1:]}." if found.note else "",
        next_at=decision.at if decision.code != rules.RUN else None,
        can_run=decision.code not in (rules.BLOCKED, rules.OPEN, rules.NO_AGENT),
    )


def _when(found: Next) -> str:
    policy = found.policy
    said = cadence(policy.every_hours)
    if policy.window_from:
        said += f", between {policy.window_from} and {policy.window_to} ({policy.timezone})"
    if policy.kind == "forget" and found.groups:
        said += f"; {counted(found.groups, 'source group')}"
    if policy.kind == "check":
        said += (
            f"; part {policy.next_part} of {policy.parts} of the data is next" if policy.parts else "; no data is read"
        )
    return said
