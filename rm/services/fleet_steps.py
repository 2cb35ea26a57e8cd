"""Driving the open fleet update: asks the rules what is next and does it, each action in one transaction.

Nothing is kept in memory between two calls, so a server that was killed goes on with the next call.
"""

from datetime import datetime

from rm.domain import fleet_update as rules
from rm.domain.actors import Actor
from rm.domain.fleet_options import parse_options
from rm.domain.fleet_state import (
    UNFINISHED,
    Action,
    CloseAttempt,
    Finish,
    Order,
    OrderBack,
    Recall,
    Retry,
    Settle,
    Stop,
)
from rm.errors import Conflict, NotFound
from rm.events import EventBus, FleetUpdateChanged
from rm.services import fleet_records as records
from rm.services import updates
from rm.shared import instants
from rm.store import fleet_updates
from rm.store import updates as attempts
from rm.store.database import changes, publish_after_commit
from rm.store.models import FleetUpdate, FleetUpdateHost, UpdateAttempt

# refusals of an order that say something lasting about the host, with the verdict that they are
EXCLUDED = {
    "not_behind": "current", "current": "current", "ahead": "ahead", "pinned": "pinned", "held": "held",
    "no_artifact": "no_artifact", "known_bad": "known_bad", "guard_too_old": "guard_too_old",
    "host_revoked": "revoked", "revoked": "revoked",
}  # fmt: skip


AWAITED = ("being_cancelled", "rollback_under_way")


def step(bus: EventBus, *, now: datetime) -> bool:
    """One step of the open fleet update; True when something was done, so that another step may follow at once."""
    found = fleet_updates.find_open()
    if found is None:
        return False
    actions = rules.step(records.load(found, now=now), now)
    for action in actions:
        with changes():
            is_done = apply(bus, found, action, now=now)
        if not is_done:
            # somebody changed something meanwhile: the next step looks again
            break
    return bool(actions)


def correct_past(bus: EventBus, *, now: datetime) -> int:
    """Let evidence that came after the end correct what became of a host; returns how many were corrected."""
    with changes():
        late = fleet_updates.list_to_correct()
        for fleet_update_id, host_id, before, attempt_state in late:
            after = "succeeded" if attempt_state == "succeeded" else "failed"
            attempt = attempts.find(fleet_updates.host(fleet_update_id, host_id).attempt_id or "")
            records.move_host(
                bus, fleet_updates.get(fleet_update_id), host_id, before=(before,), after=after, now=now,
                reason="" if after == "succeeded" or attempt is None else attempt.message,
            )  # fmt: skip
    return len(late)


def rearm(bus: EventBus, *, now: datetime) -> None:
    """After a start, or when the clock jumped: nobody is taken for vanished before hosts had time to return."""
    with changes():
        found = fleet_updates.find_open()
        if found is not None:
            kept = found.options | {"counted_from": instants.to_text(now)}
            FleetUpdate.update(options=kept).where(FleetUpdate.id == found.id).execute()
            publish_after_commit(bus, FleetUpdateChanged(found.id))


def apply(bus: EventBus, found: FleetUpdate, action: Action, *, now: datetime) -> bool:
    """Do one action inside the caller's transaction; False when it no longer fits what the database says."""
    match action:
        case Settle():
            moved = records.move_host(
                bus, found, action.host_id, before=(action.before,), after=action.after, now=now, reason=action.reason,
                verdict=action.verdict,
            )  # fmt: skip
            if moved and action.stop is not None:
                _stop(bus, found, action.stop, now=now)
            return moved
        case Stop():
            return _stop(bus, found, action, now=now)
        case Order():
            return _order(bus, found, action.host_id, now=now)
        case Retry():
            return _retry(bus, found, action.host_id, now=now)
        case OrderBack():
            return _order_back(bus, found, action.host_id, now=now)
        case Recall():
            return _recall(bus, found, action, now=now)
        case CloseAttempt():
            return _close_attempt(bus, found, action.host_id, now=now)
        case Finish():
            leave_out_the_rest(bus, found, reason="The fleet update ended before its turn.", now=now)
            return records.move(
                bus, found, before=("running", "cancelling"), after=action.state, now=now, reason=action.reason
            )


def leave_out_the_rest(bus: EventBus, found: FleetUpdate, *, reason: str, now: datetime) -> None:
    """Every host that is not finished is left as it is."""
    for row in fleet_updates.list_hosts(found.id):
        if row.state in UNFINISHED:
            records.move_host(bus, found, row.host_id, before=UNFINISHED, after="skipped", now=now, reason=reason)


def close_unfenced(bus: EventBus, found: FleetUpdate, *, now: datetime) -> None:
    """Every attempt of it that has not passed the fence is given up."""
    for row in attempts.list_for_fleet_update(found.id):
        is_unfenced = row.state in ("queued", "dispatched", "running", "deferred") and row.fenced_at is None
        if is_unfenced and row.cancel_requested_at is None and not row.is_rollback:
            updates.cancel(bus, job_id=row.job_id, actor=orderer(found), now=now)


def orderer(found: FleetUpdate) -> Actor:
    """Who orders in its name."""
    return Actor(kind="server", name=fleet_updates.orderer_name(found))


def _stop(bus: EventBus, found: FleetUpdate, stop: Stop, *, now: datetime) -> bool:
    moved = records.move(
        bus, found, before=("running", "paused", "cancelling"), after=stop.to, now=now, reason=stop.reason,
        host_id=stop.host_id, changes_options={"is_rolling_back": False},
    )  # fmt: skip
    if moved and stop.closes_unfenced:
        close_unfenced(bus, found, now=now)
    return moved


def _order(bus: EventBus, found: FleetUpdate, host_id: str, *, now: datetime) -> bool:
    if attempts.fleet_state(found.id) != "running":
        return False
    row = fleet_updates.host(found.id, host_id)
    if row.state not in ("waiting", "passed_over"):
        return False
    is_forced = host_id in fleet_updates.forced_host_ids(found)
    try:
        attempt = updates.order(
            bus, host_id=host_id, actor=orderer(found), now=now, release_id=found.release_id, fleet_update_id=found.id,
            soak_seconds=parse_options(found.options).soak_seconds, force=is_forced,
            reason=row.reason[: updates.MAX_REASON] or "It was retried." if is_forced else "",
        )  # fmt: skip
    except Conflict as refusal:
        if refusal.code in AWAITED:
            return _await(found, host_id, attempts.open_for_host(host_id), now=now)
        if refusal.code not in EXCLUDED:
            why = f"{fleet_updates.host_name(host_id)} could not be ordered: {refusal.message}"
            return _stop(bus, found, Stop("paused", why, host_id), now=now)
        return records.move_host(
            bus, found, host_id, before=(row.state,), after="excluded", now=now, reason=refusal.message,
            verdict=EXCLUDED[refusal.code],
        )  # fmt: skip
    if attempt.to_seq != found.to_seq:
        return _await(found, host_id, attempt, now=now)
    if attempt.fleet_update_id not in (None, found.id) and attempt.state in ("queued", "deferred"):
        # left behind by a fleet update that is over, so it would never be sent
        updates.cancel(bus, job_id=attempt.job_id, actor=orderer(found), now=now)
        return _order(bus, found, host_id, now=now)
    return records.move_host(
        bus, found, host_id, before=(row.state,), after="updating", now=now, attempt_id=attempt.job_id
    )


def _await(found: FleetUpdate, host_id: str, attempt: UpdateAttempt | None, *, now: datetime) -> bool:
    # somebody else's order is on its way; this one's turn comes when that has ended
    FleetUpdateHost.update(attempt_id=attempt.job_id if attempt else None, changed_at=now).where(
        FleetUpdateHost.fleet_update == found.id, FleetUpdateHost.host == host_id
    ).execute()
    return True


def _retry(bus: EventBus, found: FleetUpdate, host_id: str, *, now: datetime) -> bool:
    row = fleet_updates.host(found.id, host_id)
    if attempts.fleet_state(found.id) != "running" or row.attempt_id is None:
        return False
    if updates.retry(bus, job_id=row.attempt_id, now=now, actor=orderer(found)).state != "queued":
        return False
    return records.move_host(
        bus, found, host_id, before=("passed_over",), after="updating", now=now, reason="Its turn has come again."
    )


def _order_back(bus: EventBus, found: FleetUpdate, host_id: str, *, now: datetime) -> bool:
    if attempts.fleet_state(found.id) != "cancelling":
        return False
    reason = str(fleet_updates.notes(found).get("roll_back_reason", ""))
    try:
        attempt = updates.order_rollback(
            bus, host_id=host_id, actor=orderer(found), now=now, reason=reason, fleet_update_id=found.id,
            soak_seconds=parse_options(found.options).soak_seconds,
        )  # fmt: skip
    except (Conflict, NotFound) as refusal:
        return records.move_host(
            bus, found, host_id, before=("succeeded",), after="skipped", now=now,
            reason=f"It stays on {found.to_version}: {refusal.message}",
        )  # fmt: skip
    return records.move_host(
        bus, found, host_id, before=("succeeded",), after="updating", now=now, attempt_id=attempt.job_id,
        reason="It goes back to what it ran before.",
    )  # fmt: skip


def _recall(bus: EventBus, found: FleetUpdate, action: Recall, *, now: datetime) -> bool:
    if not _close_attempt(bus, found, action.host_id, now=now):
        return False
    return records.move_host(
        bus,
        found,
        action.host_id,
        before=UNFINISHED,
        after=action.after,
        now=now,
        reason=action.reason,
        attempt_id=None,
    )


def _close_attempt(bus: EventBus, found: FleetUpdate, host_id: str, *, now: datetime) -> bool:
    attempt_id = fleet_updates.host(found.id, host_id).attempt_id
    if attempt_id is None:
        return False
    try:
        updates.cancel(bus, job_id=attempt_id, actor=orderer(found), now=now)
    except Conflict:
        return False
    return True
