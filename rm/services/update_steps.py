"""Taking one step of an attempt: row, history, job, alert and audit in one transaction, events after it."""

from datetime import datetime, timedelta
from typing import Any

from rm.domain import update_attempt as rules
from rm.domain.actors import SERVER, Actor
from rm.domain.alert_rules import is_forged
from rm.domain.update_timing import Timing
from rm.events import EventBus, HostChanged, JobChanged, JobQueued, UpdateChanged
from rm.services import alerts, audit
from rm.store import hosts, jobs, updates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job, UpdateAttempt

MAX_EVENTS = 500
FORGERY = "release_signature_invalid"
_OUTCOMES = {
    "succeeded": "succeeded", "failed": "failed", "rolled_back": "failed", "refused": "failed",
    "cancelled": "cancelled", "lost": "lost",
}  # fmt: skip
# A host that its owner pinned has not failed.
_NO_ALERT = frozenset({"pinned"})


def facts(row: UpdateAttempt) -> rules.Attempt:
    """What the rules need to know of this attempt."""
    timers = {"attempt_seconds": Timing().attempt_seconds, "soak_seconds": 60} | row.timers
    return rules.Attempt(
        host_name=row.host.name, from_version=row.from_version, from_seq=row.from_seq, from_sha256=row.from_sha256,
        to_version=row.to_version, to_seq=row.to_seq, artifact_sha256=row.artifact_sha256, is_rollback=row.is_rollback,
        is_in_fleet=row.fleet_update_id is not None, state=row.state, phase=row.phase, phase_since=row.phase_since,
        percent=row.percent, detail=row.detail, created_at=row.created_at, not_after=row.not_after,
        fenced_at=row.fenced_at, deadline_at=row.deadline_at, total_deadline_at=row.total_deadline_at,
        soak_until=row.soak_until, retry_at=row.retry_at, reason=row.reason, message=row.message,
        failure_class=row.failure_class, is_provisional=row.is_provisional, is_late=row.is_late,
        is_proven=row.is_proven, is_revert_failed=row.is_revert_failed, cancel_requested_at=row.cancel_requested_at,
        last_sign_at=row.last_sign_at, ended_at=row.ended_at,
        timeout=timedelta(seconds=timers["attempt_seconds"]), soak=timedelta(seconds=timers["soak_seconds"]),
    )  # fmt: skip


def take(
    bus: EventBus, row: UpdateAttempt, step: rules.Step, *, now: datetime, actor: Actor = SERVER, **more: Any
) -> bool:
    """Take the step unless the attempt has moved meanwhile; `more` are fields that no rule decides."""
    before, host_id = row.state, row.host_id
    with changes():
        changed = (
            UpdateAttempt.update(step.fields | more)
            .where(
                UpdateAttempt.job == row.job_id, UpdateAttempt.state == before, UpdateAttempt.epoch == row.epoch,
                UpdateAttempt.is_provisional == row.is_provisional,
            )
            .execute()
        )  # fmt: skip
        if not changed:
            return False
        after = updates.get(row.job_id)
        if step.text:
            note(after, step.text, now=now)
        _keep_job_in_step(after, now=now)
        if before != after.state or "fenced_at" in step.fields:
            _tell_alert(bus, after, was_provisional=row.is_provisional, before=before, now=now)
            _record(actor, after, before=before, now=now)
        publish_after_commit(bus, JobChanged(row.job_id, host_id), UpdateChanged(row.job_id, host_id))
        if step.text:
            publish_after_commit(bus, HostChanged(host_id))
        if after.state == "queued" or not rules.is_open(after.state):
            # what waits for this host, the attempt itself included, has its turn
            publish_after_commit(bus, JobQueued(row.job_id, host_id))
        return True


def note(row: UpdateAttempt, text: str, *, now: datetime) -> None:
    """One line of an attempt's history; a line that repeats the last one is left out, and so is the 501st."""
    updates.add_event(row, text, at=now, most=MAX_EVENTS if rules.is_open(row.state) else None)


def fleet_closed_because(row: UpdateAttempt, *, is_begun: bool) -> str:
    """Why the fleet update of an attempt is in its way now; empty where it is not.

    One that is being cancelled lets a host that has its order finish, and sends no order to another. It never is in
    the way of going back.
    """
    if row.fleet_update_id is None or row.is_rollback:
        return ""
    state = updates.fleet_state(row.fleet_update_id)
    is_open = state == "running" or (is_begun and state == "cancelling")
    return "" if is_open else f"the fleet update is {state or 'gone'}"


def next_epoch(host_id: str, now: datetime) -> int:
    """The number of the next order for this host."""
    # At least the time: a server that was restored from yesterday's database must not repeat an epoch.
    epoch = max(hosts.get(host_id).update_epoch + 1, int(now.timestamp()))
    Host.update(update_epoch=epoch).where(Host.id == host_id).execute()
    return epoch


def condition_of(host_id: str) -> str:
    """What the alert about a failed update is about."""
    return f"host:{host_id}"


def _keep_job_in_step(row: UpdateAttempt, *, now: datetime) -> None:
    fields: dict[str, Any] = {"reason": row.reason, "message": row.message, "last_sign_at": row.last_sign_at}
    if row.state in _OUTCOMES:
        fields |= {"state": "finished", "outcome": _OUTCOMES[row.state], "finished_at": row.ended_at, "waits_for": ""}
    elif row.state in ("queued", "deferred"):
        waits = f"is put off until {row.retry_at:%Y-%m-%d %H:%M} UTC" if row.retry_at is not None else ""
        fields |= {
            "state": "queued", "outcome": None, "finished_at": None, "dispatched_at": None, "started_at": None,
            "waits_for": waits,
        }  # fmt: skip
    else:
        job = jobs.get(row.job_id)
        fields |= {
            "state": "queued" if row.state == "dispatched" else "running", "outcome": None, "finished_at": None,
            "dispatched_at": job.dispatched_at or now, "waits_for": "",
            "started_at": None if row.state == "dispatched" else job.started_at or now,
        }  # fmt: skip
    Job.update(fields).where(Job.id == row.job_id).execute()


def _tell_alert(
    bus: EventBus, row: UpdateAttempt, *, was_provisional: bool, before: str, now: datetime
) -> None:  # fmt: skip
    condition = condition_of(row.host_id)
    _tell_forgery(bus, row, now=now)
    if row.state in rules.FAILED_ENDS and row.reason not in _NO_ALERT:
        if was_provisional and before == "failed":
            reworded = alerts.reword(bus, kind="update_failed", condition=condition, message=row.message, now=now)
            if reworded:
                return
        alerts.raise_alert(
            bus, kind="update_failed", condition=condition, message=row.message, now=now, host_id=row.host_id
        )
    elif row.state == "succeeded" or (was_provisional and _is_last(row)):
        alerts.clear(bus, kind="update_failed", condition=condition, note=row.message, now=now)


def _tell_forgery(bus: EventBus, row: UpdateAttempt, *, now: datetime) -> None:
    """What a host refused for its signature is told as that too: one incident of the release, for all its hosts."""
    condition = f"host:{row.host_id}:release"
    if row.state in rules.FAILED_ENDS and is_forged(row.reason):
        alerts.raise_alert(
            bus, kind=FORGERY, condition=condition, now=now, host_id=row.host_id, cause=f"release:{row.to_version}",
            message=f"{row.host.name} refused release {row.to_version}: {row.message}",
        )  # fmt: skip
    elif row.state == "succeeded":
        note = f"{row.host.name} took a release whose signatures hold."
        alerts.clear(bus, kind=FORGERY, condition=condition, note=note, now=now)


def _is_last(row: UpdateAttempt) -> bool:
    last = updates.last_for_host(row.host_id)
    return last is not None and last.job_id == row.job_id


def _record(actor: Actor, row: UpdateAttempt, *, before: str, now: datetime) -> None:
    if before == row.state:
        action = "update.swap_allowed" if row.fenced_at == now else ""
    elif before in rules.ENDED:
        action = "update.corrected"
    else:
        action = {"dispatched": "update.sent", "queued": "update.retried", "deferred": "update.deferred"}.get(
            row.state, "update.ended" if row.state in rules.ENDED else ""
        )
        if row.state == "running" and row.fenced_at == now:
            action = "update.swap_allowed"
    if action:
        audit.record(
            actor, action, now=now, kind="job", id=row.job_id, name=f"update of {row.host.name}", was=before,
            now_is=row.state, reason=row.reason, to=row.to_version,
        )  # fmt: skip
