"""Writing down what happens to a fleet update: states by compare-and-set, history, alert and audit with them."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from rm.domain.actors import SERVER, Actor
from rm.domain.fleet_state import Fleet
from rm.events import EventBus, FleetUpdateChanged
from rm.services import alerts, audit, disk_space
from rm.shared.words import counted
from rm.store import fleet_updates
from rm.store.database import publish_after_commit
from rm.store.models import FleetUpdate, FleetUpdateEvent, FleetUpdateHost

KEEP = "keep"


def load(found: FleetUpdate, *, now: datetime) -> Fleet:
    """The fleet update with all that decides what is next, the server's own disk too."""
    return replace(fleet_updates.load(found, now=now), held_because=disk_space.why_nothing_starts())


def note(
    found: FleetUpdate, kind: str, text: str, *, now: datetime, host_id: str | None = None, actor: Actor = SERVER
) -> None:  # fmt: skip
    """One line of its history; `kind` is fleet.<state>, host.<state> or the name of what a person did."""
    FleetUpdateEvent.create(
        fleet_update=found.id, at=now, kind=kind, host_id=host_id, actor=actor.name, text=text[:1000]
    )  # fmt: skip


def move_host(
    bus: EventBus,
    found: FleetUpdate,
    host_id: str,
    *,
    before: tuple[str, ...],
    after: str,
    now: datetime,
    reason: str = "",
    verdict: str = "",
    attempt_id: str | None = KEEP,
    actor: Actor = SERVER,
) -> bool:
    """Take a host to another state with its line of history; False when it was in none of `before`."""
    fields: dict[str, Any] = {"state": after, "reason": reason, "changed_at": now}
    if attempt_id != KEEP:
        fields["attempt_id"] = attempt_id
    if verdict:
        fields["verdict"] = verdict
    changed = (
        FleetUpdateHost.update(fields)
        .where(
            FleetUpdateHost.fleet_update == found.id,
            FleetUpdateHost.host == host_id,
            FleetUpdateHost.state.in_(before),
        )
        .execute()
    )
    if not changed:
        return False
    text = f"{fleet_updates.host_name(host_id)}: {WORDS[after]}" + (f". {reason}" if reason else "")
    note(found, f"host.{after}", text, now=now, host_id=host_id, actor=actor)
    publish_after_commit(bus, FleetUpdateChanged(found.id))
    return True


WORDS = {
    "waiting": "waits", "updating": "is being updated", "soaking": "said hello and is watched",
    "passed_over": "is busy and was passed over", "succeeded": "done", "failed": "failed", "skipped": "left out",
    "excluded": "not updated",
}  # fmt: skip


def move(
    bus: EventBus,
    found: FleetUpdate,
    *,
    before: tuple[str, ...],
    after: str,
    now: datetime,
    actor: Actor = SERVER,
    reason: str = "",
    action: str = "",
    host_id: str | None = None,
    changes_options: dict[str, Any] | None = None,
    **payload: Any,
) -> bool:
    """Take the whole to another state, with history, audit and alert; False when it was in none of `before`."""
    fields: dict[str, Any] = {"state": after, "reason": reason[:1000], "halted_host_id": host_id}
    if changes_options is not None:
        fields["options"] = fleet_updates.get(found.id).options | changes_options
    if after == "running" and found.started_at is None:
        fields["started_at"] = now
    if after in fleet_updates.ENDED_STATES:
        fields["ended_at"] = now
    was = fleet_updates.get(found.id).state
    changed = FleetUpdate.update(fields).where(FleetUpdate.id == found.id, FleetUpdate.state.in_(before)).execute()
    if not changed:
        return False
    action = action or after
    note(found, f"fleet.{after}", reason or _ACTION_WORDS.get(action, action), now=now, host_id=host_id, actor=actor)
    audit.record(
        actor, f"fleet_update.{action}", now=now, kind="fleet_update", id=found.id,
        name=f"fleet update to {found.to_version}", was=was, now_is=after, reason=reason,
        host_id=host_id or "", **payload,
    )  # fmt: skip
    if after == "halted":
        alerts.raise_alert(
            bus, kind="fleet_update_halted", condition=condition_of(found.id), now=now, host_id=host_id,
            message=halt_words(found, reason),
        )  # fmt: skip
    elif was == "halted":
        note_words = f"It went on: {_ACTION_WORDS.get(action, action)}"
        alerts.clear(bus, kind="fleet_update_halted", condition=condition_of(found.id), note=note_words, now=now)
    publish_after_commit(bus, FleetUpdateChanged(found.id))
    return True


_ACTION_WORDS = {
    "started": "Started.", "paused": "Paused.", "resumed": "Resumed.", "cancelling": "Being cancelled.",
    "cancelled": "Cancelled.", "retried": "What failed is tried again.", "skipped": "What failed is left out.",
    "rolling_back": "The updated hosts go back.", "completed": "Every host is done.",
    "completed_with_exceptions": "Done, but not every host was updated.", "closed": "Closed.",
}  # fmt: skip


def condition_of(fleet_update_id: str) -> str:
    """What the alert about a halted fleet update is about: each has its own."""
    return f"fleet_update:{fleet_update_id}"


def halt_words(found: FleetUpdate, reason: str) -> str:
    """The alert's message: why, how far it came, and what to do."""
    sizes = fleet_updates.counts(found.id)
    done = sizes.get("succeeded", 0)
    left = sum(sizes.get(state, 0) for state in ("waiting", "updating", "soaking", "passed_over"))
    return (
        f"The fleet update to {found.to_version} halted. {reason} {counted(done, 'host')} updated, {left} left as they "
        "are. Look at the host, then retry, skip, roll back or cancel in Settings → Fleet update."
    )


def said(found: FleetUpdate) -> str:
    """Its state in words."""
    words = {"cancelling": "being cancelled", "completed_with_exceptions": "completed with exceptions"}
    return words.get(found.state, found.state)
