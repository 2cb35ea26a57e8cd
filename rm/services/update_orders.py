"""What a connected host is to be told of updates: orders until the fence, and cancellations."""

from datetime import datetime

from rm.domain import update_attempt as rules
from rm.events import EventBus, JobChanged
from rm.services.update_steps import facts, fleet_closed_because, take
from rm.shared import instants
from rm.shared.protocol import CommandRollback, CommandUpdate, CommandUpdateCancel
from rm.store import updates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Job, UpdateAttempt

Order = CommandUpdate | CommandRollback | CommandUpdateCancel


def orders_for(bus: EventBus, *, host_id: str, now: datetime) -> list[tuple[str, Order]]:
    """What a connected host is to be told of updates now, each with a key: an order with the same key is the same.

    A queued attempt is marked as sent before its order leaves; until the fence it is repeated after each reconnect.
    """
    to_cancel = updates.list_to_cancel(host_id, now=now)
    found: list[tuple[str, Order]] = [
        (f"update_cancel {row.job_id}", CommandUpdateCancel(attempt_id=row.job_id)) for row in to_cancel
    ]
    row = updates.open_for_host(host_id)
    if row is not None and row.state == "queued":
        row = _dispatch(bus, row, is_busy=bool(to_cancel), now=now)
    if row is None or row.state not in ("dispatched", "running") or row.fenced_at is not None:
        return found
    if row.cancel_requested_at is not None:
        return [*found, (f"update_cancel {row.job_id}", CommandUpdateCancel(attempt_id=row.job_id))]
    return [*found, (f"update {row.job_id} {row.epoch}", _command(row))]


def _dispatch(bus: EventBus, row: UpdateAttempt, *, is_busy: bool, now: datetime) -> UpdateAttempt | None:
    with changes():
        fresh = updates.open_for_host(row.host_id)
        if fresh is None or fresh.state != "queued":
            return fresh
        why = fleet_closed_because(fresh, is_begun=False)
        connected_at = fresh.host.connected_at
        if is_busy and connected_at is not None and now - connected_at < facts(fresh).timeout:
            why = "the host gives up an earlier update first"
        if why:
            # Whatever waits with a reason is looked at again every minute (jobs.give_up_waiting).
            Job.update(waits_for=f"waits: {why}").where(Job.id == fresh.job_id).execute()
            publish_after_commit(bus, JobChanged(fresh.job_id, fresh.host_id))
            return fresh
        step = rules.dispatch(facts(fresh), now)
        if step is not None:
            take(bus, fresh, step, now=now)
        return updates.open_for_host(row.host_id)


def _command(row: UpdateAttempt) -> Order:
    timers = {name: value for name, value in row.timers.items() if name != "attempt_seconds"}
    not_after = instants.to_text(row.not_after)
    if row.is_rollback:
        return CommandRollback(
            attempt_id=row.job_id, epoch=row.epoch, to_sha256=row.artifact_sha256, not_after=not_after, timers=timers
        )
    return CommandUpdate(
        attempt_id=row.job_id, epoch=row.epoch, keyset_version=row.keyset_version, manifest_sha256=row.release_id,
        artifact_sha256=row.artifact_sha256, version=row.to_version, seq=row.to_seq, not_after=not_after,
        force=row.is_forced, timers=timers,
    )  # fmt: skip
