"""Fleet updates as people handle them: plan, start, pause, resume, retry, skip, roll back, cancel, close.

Planning is in rm.services.fleet_plans, what follows by itself in rm.services.fleet_steps; their functions are part
of this module's face.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rm.domain import fleet_explain
from rm.domain.actors import Actor
from rm.domain.fleet_judgement import count_gone
from rm.domain.fleet_plan import WILL_UPDATE
from rm.domain.fleet_state import OPEN_ATTEMPT, OPEN_STATES, UNFINISHED
from rm.domain.fleet_update import is_only_offline_left
from rm.errors import Conflict, Invalid
from rm.events import EventBus
from rm.services import audit
from rm.services import fleet_records as records
from rm.services.fleet_plans import begin, differences, plan, preview, start
from rm.services.fleet_records import load
from rm.services.fleet_steps import close_unfenced, correct_past, leave_out_the_rest, rearm, step
from rm.shared.words import counted
from rm.store import fleet_updates, updates
from rm.store.database import changes
from rm.store.models import FleetUpdate, FleetUpdateHost

__all__ = [
    "begin", "cancel", "close", "correct_past", "differences", "explain", "list_past", "load", "pause", "plan",
    "preview", "rearm", "resume", "retry_failed", "roll_back", "skip", "start", "step",
]  # fmt: skip

MAX_REASON = 500
list_past = fleet_updates.list_past


# ---- while it goes on -------------------------------------------------------------------------------


def pause(bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str = "") -> FleetUpdate:
    """Start nothing new; who has passed the fence finishes. Again: nothing changes."""
    why = _reason(reason)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        if found.state != "paused":
            _must_be(found, "running")
            words = f"Paused by {actor.name}{f': {why}' if why else '.'}"
            records.move(bus, found, before=("running",), after="paused", now=now, actor=actor, reason=words)
        return fleet_updates.get(found.id)


def resume(bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str = "") -> FleetUpdate:
    """Go on. After a halt what failed must be retried or skipped first: Conflict `halted`."""
    why = _reason(reason)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        if found.state == "running":
            return found
        _must_be(found, "paused", "halted")
        failed = _failed(found.id)
        if found.state == "halted" and failed:
            raise Conflict(
                f"{counted(len(failed), 'host')} failed; say first what becomes of them.", code="halted",
                help="Retry or skip them, roll back what was updated, or cancel.",
            )  # fmt: skip
        _go_on(bus, found, action="resumed", actor=actor, now=now, why=why)
        return fleet_updates.get(found.id)


def cancel(
    bus: EventBus, *, fleet_update_id: str, mode: str = "soft", actor: Actor, now: datetime, reason: str = ""
) -> FleetUpdate:  # fmt: skip
    """End it: softly after the current hosts; hard also takes back what has not passed the fence. Raises Invalid."""
    if mode not in ("soft", "hard"):
        raise Invalid({"mode": "Choose soft or hard."})
    why = _reason(reason)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        is_hard = mode == "hard"
        kept = fleet_updates.notes(found)
        if found.state == "planned":
            leave_out_the_rest(bus, found, reason="It was cancelled before it started.", now=now)
            records.move(
                bus, found, before=("planned",), after="cancelled", now=now, actor=actor, action="cancelled", reason=why
            )
            return fleet_updates.get(found.id)
        if (
            found.state == "cancelling"
            and not kept.get("is_rolling_back")
            and (kept.get("is_hard_cancel") or not is_hard)
        ):
            return found
        _must_be(found, *OPEN_STATES)
        records.move(
            bus, found, before=OPEN_STATES, after="cancelling", now=now, actor=actor, mode=mode,
            action="cancelled_hard" if is_hard else "cancelled_soft",
            reason=f"Cancelled by {actor.name}{f': {why}' if why else '.'}",
            changes_options={"is_hard_cancel": is_hard, "is_rolling_back": False},
        )  # fmt: skip
        if is_hard:
            close_unfenced(bus, found, now=now)
        return fleet_updates.get(found.id)


def retry_failed(
    bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str = "",
    host_ids: Sequence[str] = (),
) -> FleetUpdate:  # fmt: skip
    """Have what failed tried again, with new attempts, and go on; all failed hosts unless some are named."""
    why = _reason(reason)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        _must_be(found, "running", "paused", "halted")
        rows = [row for row in _failed(found.id) if not host_ids or row.host_id in host_ids]
        if not rows:
            raise Conflict("No host of this fleet update has failed.", code="nothing_failed")
        for row in rows:
            records.move_host(
                bus, found, row.host_id, before=("failed",), after="waiting", now=now, attempt_id=None, actor=actor,
                reason=f"{actor.name} has it tried again{f': {why}' if why else '.'}", verdict=WILL_UPDATE,
            )  # fmt: skip
        # a host that came back from this release knows its file as bad, and takes it only when forced
        forced = sorted({*fleet_updates.forced_host_ids(found), *(row.host_id for row in rows)})
        _go_on(bus, found, action="retried", actor=actor, now=now, why=why, keeps={"forced_host_ids": forced})
        return fleet_updates.get(found.id)


def skip(
    bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str, host_ids: Sequence[str] = ()
) -> FleetUpdate:
    """Leave hosts out, the failed ones unless some are named, and go on. Raises Invalid without a reason."""
    why = _reason(reason, is_required=True)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        _must_be(found, "running", "paused", "halted")
        rows = _to_skip(found, host_ids)
        for row in rows:
            records.move_host(
                bus, found, row.host_id, before=(row.state,), after="skipped", now=now, actor=actor,
                reason=f"Skipped by {actor.name}: {why}",
            )  # fmt: skip
        is_settled = found.state != "halted" or not _failed(found.id)
        if is_settled:
            _go_on(bus, found, action="skipped", actor=actor, now=now, why=why, hosts=len(rows))
        else:
            audit.record(
                actor, "fleet_update.skipped", now=now, kind="fleet_update", id=found.id,
                name=f"fleet update to {found.to_version}", reason=why, hosts=len(rows),
            )  # fmt: skip
        return fleet_updates.get(found.id)


def roll_back(bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str) -> FleetUpdate:
    """Order the updated hosts back, the newest first and one at a time; it ends cancelled. Raises Invalid, Conflict."""
    why = _reason(reason, is_required=True)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        if found.state == "cancelling" and fleet_updates.notes(found).get("is_rolling_back"):
            return found
        _must_be(found, *OPEN_STATES)
        sizes = fleet_updates.counts(found.id)
        if not any(sizes.get(state) for state in ("succeeded", "soaking", "updating")):
            raise Conflict(
                "No host of this fleet update was updated.", code="nothing_updated", help="Cancel it instead."
            )
        close_unfenced(bus, found, now=now)
        records.move(
            bus, found, before=OPEN_STATES, after="cancelling", now=now, actor=actor, action="rolling_back",
            reason=f"{actor.name} rolls the updated hosts back: {why}",
            changes_options={"is_rolling_back": True, "is_hard_cancel": True, "roll_back_reason": why},
        )  # fmt: skip
        return fleet_updates.get(found.id)


def close(bus: EventBus, *, fleet_update_id: str, actor: Actor, now: datetime, reason: str = "") -> FleetUpdate:
    """End a run that only waits for hosts that are offline; they stay as they are. Raises Conflict `hosts_left`."""
    why = _reason(reason)
    with changes():
        found = fleet_updates.get(fleet_update_id)
        _must_be(found, "running", "paused", "halted")
        members = fleet_updates.load(found, now=now).members
        if not is_only_offline_left(members) and any(one.state in UNFINISHED for one in members):
            raise Conflict(
                "There are hosts left that can be updated.", code="hosts_left", help="Wait for them, or cancel instead."
            )
        leave_out_the_rest(bus, found, now=now, reason=f"It was offline when {actor.name} closed the fleet update.")
        records.move(
            bus, found, before=("running", "paused", "halted"), after="completed_with_exceptions", now=now,
            actor=actor, action="closed", reason=f"Closed by {actor.name}{f': {why}' if why else '.'}",
        )  # fmt: skip
        return fleet_updates.get(found.id)


# ---- looking ----------------------------------------------------------------------------------------


def explain(*, fleet_update_id: str, host_id: str, now: datetime) -> str:
    """Why this host is not being updated now, or where it stands; raises NotFound."""
    found = fleet_updates.get(fleet_update_id)
    fleet_updates.host(found.id, host_id)
    fleet = load(found, now=now)
    return fleet_explain.explain(fleet, host_id, to_version=found.to_version, stopped_because=found.reason)


# ---- parts ------------------------------------------------------------------------------------------


def _go_on(
    bus: EventBus, found: FleetUpdate, *, action: str, actor: Actor, now: datetime, why: str,
    keeps: Mapping[str, Any] | None = None, **payload: Any,
) -> None:  # fmt: skip
    kept: dict[str, Any] = {"is_hard_cancel": False, "is_rolling_back": False} | dict(keeps or {})
    gone = count_gone(fleet_updates.load(found, now=now).members, now)
    if found.state == "halted" and gone:
        # whoever goes on has seen who went offline; only more of them halt again
        kept["max_vanished"] = max(gone, found.options.get("max_vanished") or 0)
    words = {"resumed": "goes on", "retried": "has what failed tried again", "skipped": "leaves hosts out"}[action]
    records.move(
        bus, found, before=("running", "paused", "halted"), after="running", now=now, actor=actor, action=action,
        reason=f"{actor.name} {words}{f': {why}' if why else '.'}", changes_options=kept, **payload,
    )  # fmt: skip


def _to_skip(found: FleetUpdate, host_ids: Sequence[str]) -> list[FleetUpdateHost]:
    if not host_ids:
        rows = _failed(found.id)
        if not rows:
            raise Conflict("No host of this fleet update has failed.", code="nothing_failed", help="Name the hosts.")
        return rows
    rows = [fleet_updates.host(found.id, host_id) for host_id in host_ids]
    for row in rows:
        attempt = updates.find(row.attempt_id) if row.attempt_id else None
        is_open = attempt is not None and attempt.state in OPEN_ATTEMPT
        if row.state not in ("failed", "waiting", "passed_over") or is_open:
            raise Conflict(
                f"{row.host.name} cannot be skipped: {records.WORDS[row.state]}.", code="host_in_flight",
                help="Cancel its update first, or await its end.",
            )  # fmt: skip
    return rows


def _failed(fleet_update_id: str) -> list[FleetUpdateHost]:
    return [row for row in fleet_updates.list_hosts(fleet_update_id) if row.state == "failed"]


def _must_be(found: FleetUpdate, *states: str) -> None:
    if found.state not in states:
        code = "over" if found.state in fleet_updates.ENDED_STATES else "wrong_state"
        raise Conflict(f"This cannot be done: the fleet update is {records.said(found)}.", code=code)


def _reason(text: str, *, is_required: bool = False) -> str:
    clean = " ".join(text.split())
    if is_required and not clean:
        raise Invalid({"reason": "Say why; it is kept in the audit log."})
    if len(clean) > MAX_REASON:
        raise Invalid({"reason": f"At most {MAX_REASON} characters."})
    return clean
