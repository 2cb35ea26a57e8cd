"""What a host says of an attempt, and what follows: progress, a hello, a result. Evidence corrects a guess.

Each function returns the step that follows, or None where nothing changes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain import update_timing as timing
from rm.domain.update_attempt import AFTER_SWAP, BEFORE_SWAP, ENDED, Attempt, Step, end, is_correctable
from rm.domain.update_verdict import failure_class

DETAIL_LIMIT = 1000
# How an attempt may end whose target has said hello; everything else is from before the swap.
AFTER_HELLO = ("committed", "rolled_back", "revert_failed")


@dataclass(frozen=True)
class Greeting:
    """What a hello says; `journal_phase` is empty unless its journal speaks of this attempt."""

    version: str
    seq: int = 0
    sha256: str | None = None
    is_pinned: bool = False
    journal_phase: str = ""


@dataclass(frozen=True)
class Report:
    """What a host says of the end of an attempt; `is_hash_right`: what runs there is what was ordered."""

    outcome: str
    phase: str = ""
    reason: str = ""
    detail: str = ""
    is_hash_right: bool = False


def progress(attempt: Attempt, phase: str, percent: float | None, detail: str, now: datetime) -> Step | None:
    """A sign of life from any phase but the fence."""
    if attempt.state not in ("dispatched", "running", "soaking", "deferred"):
        return None
    # a phase that this server does not know yet is one of the many before the swap
    is_before = phase not in AFTER_SWAP
    if attempt.state == "deferred" and (attempt.is_in_fleet or not is_before):
        return None
    if is_before and (attempt.fenced_at is not None or attempt.state == "soaking"):
        return None
    fields: dict[str, Any] = {"percent": percent, "detail": detail[:DETAIL_LIMIT], "last_sign_at": now}
    text = ""
    if phase != attempt.phase:
        fields |= {"phase": phase, "phase_since": now}
        text = f"{attempt.host_name}: {phase}{f', {detail[:DETAIL_LIMIT]}' if detail else ''}."
    if is_before:
        if attempt.state == "deferred":
            total = now + timing.BEFORE_SWAP
            fields |= {"total_deadline_at": total, "not_after": total, "retry_at": None}
        else:
            total = attempt.total_deadline_at or attempt.not_after
        fields["state"] = "running"
        if attempt.cancel_requested_at is None:
            fields["deadline_at"] = min(now + attempt.timeout, total)
    return Step(fields, text)


def greet(attempt: Attempt, greeting: Greeting, now: datetime, *, may_reopen: bool) -> Step | None:
    """A hello; `may_reopen` is False where the host has a newer attempt."""
    where = _where(attempt, greeting)
    if attempt.state in ENDED:
        return _greet_late(attempt, greeting, where, now, may_reopen=may_reopen)
    if where == "wrong_hash":
        return end(attempt, "failed", now, "wrong_hash", _wrong_hash(attempt), failure_class="integrity")
    if where == "unproven":
        text = f"{attempt.host_name} says that it runs {attempt.to_version}; it does not say the hash of what runs."
        return end(attempt, "succeeded", now, "not_proven", text)
    if where == "target":
        return _soak(attempt, now)
    if where == "newer":
        text = f"{attempt.host_name} runs {greeting.version}, which is newer, so there is nothing to do."
        return end(attempt, "cancelled", now, "ahead", text)
    return _greet_old(attempt, greeting, now)


def result(attempt: Attempt, report: Report, now: datetime, *, may_reopen: bool) -> Step | None:
    """How the host says that it ended; None where that is known, or where it contradicts a sure verdict."""
    if attempt.state == report.outcome == "cancelled" and attempt.phase != "cancelled":
        # it was over here already; now the host has it from its mind too
        return Step({"phase": "cancelled"}, f"{attempt.host_name} has given it up.")
    if attempt.state in ENDED and not is_correctable(attempt):
        return None
    if attempt.state == "succeeded" and report.outcome not in AFTER_HELLO:
        return None
    if report.outcome == "committed":
        return _committed(attempt, report, now)
    if report.outcome == "deferred":
        return _defer(attempt, now, report.reason, report.detail, may_reopen=may_reopen)
    if report.outcome == "cancelled":
        if attempt.state == "deferred" and attempt.cancel_requested_at is None:
            return None
        text = f"{attempt.host_name} gave it up before the swap; it runs {attempt.from_version} as before."
        return end(attempt, "cancelled", now, report.reason or "cancelled", _with(text, report), phase="cancelled")
    state = {"rolled_back": "rolled_back", "refused": "refused"}.get(report.outcome, "failed")
    words = {
        "rolled_back": f"{attempt.host_name} tried {attempt.to_version} and returned to {attempt.from_version}.",
        "refused": f"{attempt.host_name} refused {attempt.to_version} and runs {attempt.from_version} as before.",
        "revert_failed": f"{attempt.host_name} could not run {attempt.to_version} and could not return. Look at it.",
    }
    text = words.get(report.outcome, f"{attempt.host_name} could not update to {attempt.to_version}.")
    return end(
        attempt, state, now, report.reason or report.outcome, _with(text, report), phase=report.phase,
        failure_class=failure_class(report.outcome, report.reason, report.phase or attempt.phase),
        is_revert_failed=report.outcome == "revert_failed",
    )  # fmt: skip


def _where(attempt: Attempt, greeting: Greeting) -> str:
    """target, wrong_hash, unproven, newer or old."""
    if greeting.sha256 is not None and greeting.sha256 == attempt.artifact_sha256:
        return "target"
    if greeting.seq == attempt.to_seq or greeting.version == attempt.to_version != attempt.from_version:
        return "unproven" if greeting.sha256 is None else "wrong_hash"
    return "newer" if greeting.seq > max(attempt.from_seq, attempt.to_seq) else "old"


def _greet_old(attempt: Attempt, greeting: Greeting, now: datetime) -> Step | None:
    name = attempt.host_name
    if attempt.state in ("queued", "deferred"):
        if greeting.is_pinned:
            text = f"{name} is pinned to {greeting.version} by its owner; only rm-agent unpin there ends that."
            return end(attempt, "cancelled", now, "pinned", text)
        return None
    if attempt.state == "soaking":
        return Step({"last_sign_at": now}, f"{name} is back with {greeting.version}; its report is awaited.")
    if attempt.fenced_at is not None and greeting.journal_phase not in BEFORE_SWAP:
        return Step({"last_sign_at": now}, f"{name} is back with {greeting.version} and has not said why yet.")
    fields: dict[str, Any] = {"last_sign_at": now, "fenced_at": None}
    if attempt.cancel_requested_at is None:
        total = attempt.total_deadline_at or attempt.not_after
        fields["deadline_at"] = min(now + attempt.timeout, max(total, now))
    if attempt.fenced_at is not None:
        fields |= {"phase": greeting.journal_phase, "phase_since": now}
        return Step(fields, f"{name} is back before the swap; it will ask again.")
    return Step(fields, f"{name} is connected again.")


def _greet_late(
    attempt: Attempt, greeting: Greeting, where: str, now: datetime, *, may_reopen: bool
) -> Step | None:  # fmt: skip
    if not attempt.is_provisional or not may_reopen:
        return None
    name = attempt.host_name
    if where in ("target", "unproven"):
        text = f"{name} came back late, with {attempt.to_version}: the update is done after all."
        return end(
            attempt, "succeeded", now, "late_hello" if where == "target" else "not_proven", text,
            is_proven=where == "target",
        )  # fmt: skip
    if where == "wrong_hash":
        return end(attempt, "failed", now, "wrong_hash", _wrong_hash(attempt), failure_class="integrity")
    if where == "old" and greeting.journal_phase in BEFORE_SWAP:
        return _defer(attempt, now, "late", "It came back late and had not swapped.", may_reopen=True)
    return None


def _soak(attempt: Attempt, now: datetime) -> Step:
    until = now + attempt.soak
    if attempt.fenced_at is not None:
        until = min(until, attempt.fenced_at + timing.LONGEST_SOAK)
    return Step(
        {
            "state": "soaking", "phase": "trial" if attempt.soak else "soaking", "phase_since": now, "percent": None,
            "detail": "", "soak_until": until, "deadline_at": until + timing.SOAK_GRACE, "last_sign_at": now,
            "retry_at": None, "is_proven": True,
        },
        f"{attempt.host_name} runs {attempt.to_version}, and its hash is right. Now it must stay healthy.",
    )  # fmt: skip


def _committed(attempt: Attempt, report: Report, now: datetime) -> Step:
    text = f"{attempt.host_name} runs {attempt.to_version} and has kept it."
    step = end(attempt, "succeeded", now, "committed", text, phase="committed")
    fields = step.fields | {"is_proven": report.is_hash_right or attempt.is_proven}
    if attempt.state == "succeeded":
        # it confirms what was seen; when that was stays
        fields |= {"is_late": attempt.is_late, "ended_at": attempt.ended_at}
    return Step(fields, text)


def _defer(attempt: Attempt, now: datetime, reason: str, detail: str, *, may_reopen: bool) -> Step | None:
    if attempt.state in ("queued", "deferred"):
        return None
    name = attempt.host_name
    if attempt.cancel_requested_at is not None or not may_reopen:
        text = f"{name} had not swapped; it runs {attempt.from_version} as before."
        return end(attempt, "cancelled", now, "cancelled" if may_reopen else "superseded", text)
    if now >= attempt.expires_at:
        text = f"{name} put it off for longer than 24 hours, so it was given up. Nothing was changed on the host."
        return end(attempt, "cancelled", now, "expired", text)
    retry_at = min(now + timing.retry_after(now - attempt.created_at), attempt.expires_at)
    text = f"{name} put it off: {detail[:DETAIL_LIMIT] or reason or 'it is busy'}"
    return Step(
        {
            "state": "deferred", "reason": reason or "deferred", "message": text, "phase_since": now, "percent": None,
            "fenced_at": None, "soak_until": None, "retry_at": retry_at, "total_deadline_at": None,
            # In a fleet update its worker decides when the host's turn comes again.
            "deadline_at": attempt.expires_at if attempt.is_in_fleet else retry_at, "not_after": attempt.expires_at,
            "is_provisional": False, "is_late": attempt.is_late or attempt.is_provisional, "is_proven": False,
            "failure_class": "", "ended_at": None, "last_sign_at": now,
        },
        text,
    )  # fmt: skip


def _wrong_hash(attempt: Attempt) -> str:
    return (
        f"{attempt.host_name} says that it runs {attempt.to_version}, but the hash of what runs is not the one that "
        "was signed. Look at that host."
    )


def _with(text: str, report: Report) -> str:
    return f"{text} {report.detail[:DETAIL_LIMIT]}" if report.detail else text
