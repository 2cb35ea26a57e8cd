"""One attempt to change a host's agent: its states, their timed exits, and what evidence makes of it.

Each function takes an attempt and something that happened and returns the step that follows, or None where nothing
changes. A step is the fields that change and one sentence for the attempt's history. Nothing here reads a clock.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rm.domain import update_timing as timing
from rm.domain.update_verdict import (  # the names that others import from here
    ORDERABLE,
    HostFacts,
    ReleaseFacts,
    Verdict,
    failure_class,
    verdict_for_host,
)

__all__ = [
    "AFTER_SWAP", "BEFORE_SWAP", "ENDED", "OPEN", "ORDERABLE", "PHASES", "ROLLBACK_PHASES", "Attempt", "HostFacts",
    "ReleaseFacts", "Signs", "Step", "Verdict", "cancel", "dispatch", "end", "failure_class", "fence",
    "is_correctable", "is_open", "overdue", "rearm", "retry", "verdict_for_host",
]  # fmt: skip

OPEN = ("queued", "dispatched", "running", "soaking", "deferred")
ENDED = ("succeeded", "failed", "rolled_back", "refused", "cancelled", "lost")
BEFORE_SWAP = ("accepted", "preflight", "draining", "downloading", "verifying", "selftest", "fence")
AFTER_SWAP = ("swapping", "restarting", "trial", "soaking", "committed")
PHASES = (
    "preflight", "draining", "downloading", "verifying", "selftest", "swapping", "restarting", "trial", "soaking",
)  # fmt: skip
ROLLBACK_PHASES = ("preflight", "draining", "swapping", "restarting", "trial", "soaking")
FAILED_ENDS = ("failed", "rolled_back", "refused")
# Successes that the server concluded from what it saw; the host's own word may still correct them.
SEEN = ("not_proven", "soak_seen", "late_hello")


@dataclass(frozen=True)
class Attempt:
    """What the rules need to know of an attempt; fields are named as in its row."""

    host_name: str
    from_version: str
    from_seq: int
    to_version: str
    to_seq: int
    artifact_sha256: str
    state: str
    created_at: datetime
    not_after: datetime
    deadline_at: datetime | None = None
    total_deadline_at: datetime | None = None
    from_sha256: str | None = None
    is_rollback: bool = False
    is_in_fleet: bool = False
    phase: str = ""
    phase_since: datetime | None = None
    percent: float | None = None
    detail: str = ""
    fenced_at: datetime | None = None
    soak_until: datetime | None = None
    retry_at: datetime | None = None
    reason: str = ""
    message: str = ""
    failure_class: str = ""
    is_provisional: bool = False
    is_late: bool = False
    is_proven: bool = False
    is_revert_failed: bool = False
    cancel_requested_at: datetime | None = None
    last_sign_at: datetime | None = None
    ended_at: datetime | None = None
    timeout: timedelta = timedelta(seconds=timing.ATTEMPT_SECONDS)
    soak: timedelta = timedelta(seconds=timing.SOAK_SECONDS)

    @property
    def expires_at(self) -> datetime:
        """When it is given up if it never came to a swap."""
        return self.created_at + timing.QUEUE

    def after(self, step: "Step") -> "Attempt":
        """This attempt with the step taken."""
        return replace(self, **step.fields)


@dataclass(frozen=True)
class Step:
    """What changes, and the sentence that tells it."""

    fields: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Signs:
    """What the server sees of the host when a deadline passes; `has_soaked`: one connection since it said hello."""

    is_connected: bool = False
    has_soaked: bool = False
    has_returned: bool = False
    is_revoked: bool = False


def is_open(state: str) -> bool:
    """Whether an attempt in this state has not ended."""
    return state in OPEN


def is_correctable(attempt: Attempt) -> bool:
    """Whether evidence may still change how this attempt ended."""
    return attempt.is_provisional or (attempt.state == "succeeded" and attempt.reason in SEEN)


# ---- what the server does ----------------------------------------------------------------------------


def dispatch(attempt: Attempt, now: datetime) -> Step | None:
    """The order leaves for the host."""
    if attempt.state != "queued":
        return None
    total = now + timing.BEFORE_SWAP
    return Step(
        {
            "state": "dispatched", "phase": "", "phase_since": now, "percent": None, "detail": "",
            "deadline_at": now + attempt.timeout, "total_deadline_at": total, "not_after": total, "retry_at": None,
            "last_sign_at": now,
        },
        f"The order was sent to {attempt.host_name}.",
    )  # fmt: skip


def retry(attempt: Attempt, now: datetime) -> Step | None:
    """A deferred attempt waits for being sent again."""
    if attempt.state != "deferred":
        return None
    return Step(
        {
            "state": "queued", "phase": "", "phase_since": now, "detail": "", "retry_at": None, "fenced_at": None,
            "deadline_at": attempt.expires_at, "total_deadline_at": None, "not_after": attempt.expires_at,
        },
        "It is tried again.",
    )  # fmt: skip


def cancel(attempt: Attempt, by: str, now: datetime) -> Step | None:
    """Give it up: at once where nothing reached the host, else the host is asked. None past the fence, or asked."""
    if attempt.state in ("queued", "deferred"):
        fields = {"cancel_requested_at": now}
        return _merge(fields, end(attempt, "cancelled", now, "cancelled", f"Cancelled by {by} before anything began."))
    if attempt.state not in ("dispatched", "running") or attempt.fenced_at or attempt.cancel_requested_at:
        return None
    return Step(
        {"cancel_requested_at": now, "deadline_at": now + attempt.timeout},
        f"{by} cancelled it; {attempt.host_name} is told and can no longer swap.",
    )


def fence(attempt: Attempt, closed_because: str, now: datetime) -> tuple[bool, Step | None]:
    """Whether the host may swap now, and the step that follows; `closed_because` is why its fleet update says no."""
    if attempt.state not in ("dispatched", "running"):
        return False, None
    is_late = now >= min(attempt.not_after, attempt.total_deadline_at or attempt.not_after)
    why = "it was cancelled" if attempt.cancel_requested_at else "its time ran out" if is_late else closed_because
    if why:
        if attempt.cancel_requested_at:
            return False, None
        return False, Step(
            {"cancel_requested_at": now, "deadline_at": now + attempt.timeout, "last_sign_at": now},
            f"{attempt.host_name} asked to swap and was refused: {why}.",
        )
    return True, Step(
        {
            "state": "running", "phase": "swapping", "phase_since": now, "percent": None, "detail": "",
            "fenced_at": now, "deadline_at": now + attempt.timeout, "last_sign_at": now,
        },
        f"{attempt.host_name} may swap {attempt.from_version} for {attempt.to_version} now.",
    )  # fmt: skip


def rearm(attempt: Attempt, now: datetime) -> Step | None:
    """Deadlines that hold again after a start, or after the clock jumped: none sooner than the server's patience."""
    if attempt.deadline_at is None:
        return None
    least = now + attempt.timeout
    fields: dict[str, Any] = {}
    if attempt.state in ("queued", "deferred"):
        fields["deadline_at"] = timing.between(attempt.deadline_at, least, now + timing.QUEUE)
        fields["not_after"] = timing.between(attempt.not_after, least, now + timing.QUEUE)
        if attempt.retry_at is not None:
            fields["retry_at"] = timing.between(attempt.retry_at, now, now + timing.MOST_RETRY)
    elif attempt.state == "soaking":
        fields["deadline_at"] = timing.between(
            attempt.deadline_at, least, max(least, now + attempt.soak + timing.SOAK_GRACE)
        )
    else:
        fields["deadline_at"] = least
        if attempt.fenced_at is None:
            total = timing.between(attempt.total_deadline_at or least, least, now + timing.BEFORE_SWAP)
            fields |= {"total_deadline_at": total, "not_after": total}
    return Step(fields, "Its deadlines were set anew: the server started, or its clock was changed.")


# ---- what silence means ------------------------------------------------------------------------------


def overdue(attempt: Attempt, signs: Signs, now: datetime) -> Step | None:
    """The exit of a state whose deadline has passed; None before that, and for what has ended."""
    if attempt.state in ENDED or attempt.deadline_at is None or now < attempt.deadline_at:
        return None
    name = attempt.host_name
    if attempt.state == "queued" or (attempt.state == "deferred" and now >= attempt.expires_at):
        text = f"Within 24 hours {name} was not ready for it, so it was given up. Nothing was changed on the host."
        return end(attempt, "cancelled", now, "expired", text)
    if attempt.state == "deferred":
        return retry(attempt, now)
    if attempt.state == "soaking" and signs.has_soaked:
        text = f"{name} runs {attempt.to_version} and kept its connection through the soak, as the server saw."
        return end(attempt, "succeeded", now, "soak_seen", text, is_proven=True)
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None and attempt.state != "soaking":
        text = f"{name} did not answer; it can no longer swap, because the server refuses it."
        return end(attempt, "cancelled", now, "cancelled", text)
    if signs.is_revoked:
        text = f"The credential of {name} was revoked meanwhile, so nobody will learn how this ended."
        return end(attempt, "lost", now, "revoked", text)
    reason, text = _silence(attempt, signs, now)
    kind = failure_class("failed", reason, attempt.phase)
    return end(attempt, "failed", now, reason, text, failure_class=kind, is_provisional=True)


def _silence(attempt: Attempt, signs: Signs, now: datetime) -> tuple[str, str]:
    name, patience = attempt.host_name, f"{attempt.timeout.total_seconds():g} s"
    if attempt.state == "soaking":
        return "no_result", f"{name} started {attempt.to_version}, then did not stay connected and did not report."
    if attempt.fenced_at is not None:
        if signs.has_returned:
            return "came_back_old", f"{name} is back with {attempt.from_version} and has not said why yet."
        return "no_hello", f"{name} did not say hello with {attempt.to_version} within {patience} of the swap."
    if attempt.total_deadline_at is not None and now >= attempt.total_deadline_at:
        return "too_long", f"{name} did not come to the swap within 75 minutes."
    if attempt.state == "dispatched":
        return "no_sign", f"{name} gave no sign of the order within {patience}."
    if not signs.is_connected:
        return "connection_lost", f"The connection to {name} ended in the phase {attempt.phase}, before the swap."
    return "silent", f"{name} said nothing of the update for {patience} in the phase {attempt.phase}."


# ---- ending ------------------------------------------------------------------------------------------


def end(
    attempt: Attempt, state: str, now: datetime, reason: str, text: str, *, failure_class: str = "", phase: str = "",
    is_provisional: bool = False, is_proven: bool = False, is_revert_failed: bool = False,
) -> Step:  # fmt: skip
    return Step(
        {
            "state": state, "reason": reason, "message": text, "failure_class": failure_class,
            "phase": phase or attempt.phase, "is_provisional": is_provisional,
            # evidence that comes after a verdict corrects it, and is called late
            "is_late": attempt.is_late or attempt.state in ENDED, "is_proven": is_proven,
            "is_revert_failed": is_revert_failed, "deadline_at": None, "total_deadline_at": None, "retry_at": None,
            "ended_at": now,
        },
        text,
    )  # fmt: skip


def _merge(fields: dict[str, Any], step: Step) -> Step:
    return Step(fields | step.fields, step.text)
