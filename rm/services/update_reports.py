"""What hosts say of their updates: progress and the fence, the result, a hello, the end of a connection."""

from datetime import datetime, timedelta
from typing import Any

from rm.domain import update_attempt as rules
from rm.domain import update_evidence as evidence
from rm.domain.actors import Actor
from rm.errors import Conflict, Forbidden, NotFound
from rm.events import EventBus, UpdateChanged
from rm.services import audit
from rm.services.update_steps import facts, fleet_closed_because, note, take
from rm.shared.protocol import Hello, UpdateProgress, UpdateResult
from rm.store import hosts, jobs, updates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, OrphanResult, UpdateAttempt

FENCE = "swapping"
LEAST_BETWEEN = timedelta(seconds=1)
MAX_ORPHANS = 100
OUTCOMES = ("committed", "rolled_back", "refused", "deferred", "failed", "revert_failed", "cancelled")


def progress(bus: EventBus, *, host_id: str, report: UpdateProgress, now: datetime) -> None:
    """Take a sign of life; in the phase `swapping` it is the question whether the host may swap now.

    Raises NotFound (unknown_job), Forbidden (not_yours), and Conflict (attempt_closed) where the answer is no, or
    where an attempt that has ended still goes on before its swap.
    """
    row = _own(report.attempt_id, host_id)
    if report.phase == FENCE:
        _ask_fence(bus, row, now=now)
        return
    if not rules.is_open(row.state):
        if report.phase in rules.BEFORE_SWAP:
            raise Conflict(f"This attempt has ended: {row.state}.", code="attempt_closed")
        return
    is_same = row.phase == report.phase and row.state != "dispatched"
    if is_same and row.last_sign_at is not None and timedelta(0) <= now - row.last_sign_at < LEAST_BETWEEN:
        return
    with changes():
        row = updates.get(row.job_id)
        step = evidence.progress(facts(row), report.phase, report.percent, report.detail, now)
        if step is not None:
            take(bus, row, step, now=now)


def result(bus: EventBus, *, host_id: str, report: UpdateResult, now: datetime) -> None:
    """Keep how an attempt ended. One that this database does not know is kept as an orphan. Raises Forbidden."""
    with changes():
        row = updates.find(report.attempt_id)
        if row is None:
            _keep_orphan(host_id, report, now=now)
            return
        if row.host_id != host_id:
            raise Forbidden("That attempt belongs to another host.", code="not_yours")
        _take_result(bus, row, report, now=now)


def said_hello(bus: EventBus, *, host_id: str, hello: Hello, now: datetime) -> None:
    """Take what a hello says of the host's attempts: its journal, and the version, sequence and hash that run."""
    last = updates.last_for_host(host_id)
    if last is None:
        return
    journal = _journal(hello.update)
    with changes():
        named = updates.find(journal.attempt_id) if journal is not None else None
        if named is not None and named.host_id != host_id:
            named = None
        if journal is not None and named is not None and journal.outcome:
            _take_result(bus, named, journal, now=now)
        row = updates.open_for_host(host_id) or updates.last_for_host(host_id)
        if row is None:
            return
        phase = journal.phase if journal is not None and named is not None and named.job_id == row.job_id else ""
        greeting = evidence.Greeting(
            version=hello.agent_version, seq=hello.agent_seq, sha256=hello.running_sha256, is_pinned=hello.pinned,
            journal_phase=phase,
        )  # fmt: skip
        step = evidence.greet(facts(row), greeting, now, may_reopen=True)
        if step is not None:
            take(bus, row, step, now=now)


def connection_ended(bus: EventBus, *, host_id: str, now: datetime) -> None:
    """Note in the attempt that is under way that the connection ended; its deadline decides what that means."""
    row = updates.open_for_host(host_id)
    if row is None or row.state not in ("dispatched", "running", "soaking"):
        return
    with changes():
        note(row, f"The connection to {row.host.name} ended.", now=now)
        publish_after_commit(bus, UpdateChanged(row.job_id, host_id))


# ---- parts -------------------------------------------------------------------------------------------


class _Journal:
    """What a hello's journal says, reduced to what can be read."""

    def __init__(self, raw: dict[str, Any]) -> None:
        def text(name: str, most: int) -> str:
            value = raw.get(name)
            return value[:most] if isinstance(value, str) else ""

        self.attempt_id = text("attempt_id", 26)
        self.phase = text("phase", 32)
        self.reason = text("reason", 64)
        self.detail = text("detail", 2000)
        outcome = text("outcome", 16)
        self.outcome = outcome if outcome in OUTCOMES else ""


def _journal(raw: dict[str, Any] | None) -> _Journal | None:
    return _Journal(raw) if raw else None


def _ask_fence(bus: EventBus, row: UpdateAttempt, *, now: datetime) -> None:
    with changes():
        row = updates.get(row.job_id)
        may_swap, step = rules.fence(facts(row), fleet_closed_because(row, is_begun=True), now)
        if step is not None:
            may_swap = take(bus, row, step, now=now) and may_swap
    if not may_swap:
        why = "It has ended or was cancelled, its time ran out, or its fleet update does not run."
        raise Conflict(f"The swap is not allowed. {why}", code="attempt_closed")


def _take_result(bus: EventBus, row: UpdateAttempt, report: UpdateResult | _Journal, *, now: datetime) -> None:
    newest = updates.last_for_host(row.host_id)
    said = evidence.Report(
        outcome=report.outcome, phase=report.phase, reason=report.reason, detail=report.detail,
        is_hash_right=hosts.get(row.host_id).running_sha256 == row.artifact_sha256,
    )  # fmt: skip
    before = facts(row)
    step = evidence.result(before, said, now, may_reopen=newest is not None and newest.job_id == row.job_id)
    if step is not None:
        take(bus, row, step, now=now)
    elif not rules.is_open(row.state) and not _says_the_same(before, report.outcome):
        note(row, f"{row.host.name} reports: {report.outcome}. The verdict stands.", now=now)
        publish_after_commit(bus, UpdateChanged(row.job_id, row.host_id))


def _says_the_same(attempt: rules.Attempt, outcome: str) -> bool:
    return attempt.state == {"committed": "succeeded", "revert_failed": "failed"}.get(outcome, outcome)


def _keep_orphan(host_id: str, report: UpdateResult, *, now: datetime) -> None:
    job = jobs.find(report.attempt_id)
    if job is not None and job.host_id != host_id:
        raise Forbidden("That job belongs to another host.", code="not_yours")
    if updates.has_orphan(host_id, report.attempt_id, report.outcome) or updates.count_orphans(host_id) >= MAX_ORPHANS:
        return
    host: Host = hosts.get(host_id)
    words = ": ".join(part for part in (report.phase, report.reason, report.detail) if part)
    OrphanResult.create(
        host=host_id, attempt_id=report.attempt_id, at=now, outcome=report.outcome, detail=words[:2000]
    )  # fmt: skip
    actor = Actor(kind="host", name=host.name, id=host_id)
    audit.record(
        actor, "update.unknown_result", now=now, kind="host", id=host_id, name=host.name, attempt=report.attempt_id,
        outcome=report.outcome,
    )  # fmt: skip


def _own(attempt_id: str, host_id: str) -> UpdateAttempt:
    row = updates.find(attempt_id)
    if row is None:
        raise NotFound("This server does not know that attempt.", code="unknown_job")
    if row.host_id != host_id:
        raise Forbidden("That attempt belongs to another host.", code="not_yours")
    return row
