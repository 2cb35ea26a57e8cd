"""Alerts: what a person must know. One open row per kind and condition; seen again, it counts."""

from datetime import datetime
from typing import NamedTuple

from rm.domain import alert_rules
from rm.domain.actors import SERVER, Actor
from rm.domain.alerts import CAUSE_KIND, KINDS
from rm.errors import Conflict
from rm.events import AlertsChanged, EventBus
from rm.services import alert_settings, audit, incident_events, incidents
from rm.shared.ids import new_ulid
from rm.store import alerts, raising
from rm.store import incidents as incident_rows
from rm.store.database import changes, publish_after_commit
from rm.store.models import Alert, AlertWait, Incident
from rm.store.raising import NewAlert, OpenAlert

MESSAGE_LIMIT = 1000
SIGHTINGS_TOLD = 20
"""So often an alert that is seen again has a line in the timeline; after that it only counts."""


class Raised(NamedTuple):
    """What raising a condition came to."""

    alert_id: str | None
    """Its open alert; None while the kind's patience is not over."""
    is_cause_told: bool
    """Whether an alert about the cause itself was open before."""


def raise_alert(
    bus: EventBus,
    *,
    kind: str,
    condition: str,
    message: str,
    now: datetime,
    host_id: str | None = None,
    repository_id: str | None = None,
    cause: str = "",
    since: datetime | None = None,
) -> Alert | None:
    """The open alert about this condition, made or counted up; None while the kind's patience is not over.

    Call it inside the transaction of what caused it: both are committed or neither. Alerts of one `cause` are one
    incident; without a cause the condition is its own. `since` is when the condition began to hold, if before now.
    """
    with changes():
        found = raise_condition(
            bus, kind=kind, condition=condition, message=message, now=now, host_id=host_id,
            repository_id=repository_id, cause=cause, since=since,
        )  # fmt: skip
        return alerts.get(found.alert_id) if found.alert_id is not None else None


def raise_condition(
    bus: EventBus,
    *,
    kind: str,
    condition: str,
    message: str,
    now: datetime,
    host_id: str | None = None,
    repository_id: str | None = None,
    cause: str = "",
    since: datetime | None = None,
) -> Raised:
    """The same, for whoever needs no more than the alert's id; inside a transaction."""
    severity = KINDS[kind].severity
    text = message[:MESSAGE_LIMIT]
    cause = alert_rules.cause_of(kind, condition, cause)
    known = raising.look(kind, condition, cause=cause, cause_kind=CAUSE_KIND, settings=alert_settings.NAME)
    found, wait = known.alert, known.wait
    new = NewAlert(
        id=new_ulid(), kind=kind, severity=severity, condition=condition, message=text, host_id=host_id,
        repository_id=repository_id, first_seen_at=wait.since if wait is not None else min(since or now, now),
        last_seen_at=now, count=wait.count + 1 if wait is not None else 1,
    )  # fmt: skip
    if found is not None:
        _seen_again(bus, found, new, cause=cause, now=now)
        return Raised(found.id, known.is_cause_told)
    due_at = new.first_seen_at + alert_settings.patience_with(kind, host_id, text=known.settings)
    if due_at > now:
        raising.keep_wait(new, cause=cause, due_at=due_at)
        return Raised(None, known.is_cause_told)
    if wait is not None:
        raising.drop_wait(kind, condition)
    alert_id = incidents.take(bus, new, cause=cause, into=known.incident, now=now)
    publish_after_commit(bus, AlertsChanged(alert_id, host_id))
    return Raised(alert_id, known.is_cause_told)


def raise_waiting(bus: EventBus, wait: AlertWait, *, now: datetime) -> None:
    """Make an alert of a condition of which the patience is over; inside a transaction."""
    raising.drop_wait(wait.kind, wait.condition)
    if raising.find_open(wait.kind, wait.condition) is not None:
        return
    new = NewAlert(
        id=new_ulid(), kind=wait.kind, severity=KINDS[wait.kind].severity, condition=wait.condition,
        message=wait.message, host_id=wait.host_id, repository_id=wait.repository_id, first_seen_at=wait.since,
        last_seen_at=wait.last_seen_at, count=wait.count,
    )  # fmt: skip
    into = raising.find_open_incident(wait.cause)
    alert_id = incidents.take(bus, new, cause=wait.cause, into=into, now=now)
    publish_after_commit(bus, AlertsChanged(alert_id, wait.host_id))


def reword(bus: EventBus, *, kind: str, condition: str, message: str, now: datetime) -> bool:
    """Say better what an open alert is about, without counting it once more; False when none is open."""
    text = message[:MESSAGE_LIMIT]
    with changes():
        found = alerts.find_open(kind, condition)
        if found is None:
            return False
        Alert.update(message=text, last_seen_at=now).where(Alert.id == found.id).execute()
        Incident.update(message=text).where(Incident.id == found.incident_id, Incident.kind == kind).execute()
        publish_after_commit(bus, AlertsChanged(found.id, found.host_id))
        return True


def clear(bus: EventBus, *, kind: str, condition: str, note: str, now: datetime) -> bool:
    """Resolve what is open about this condition because it no longer holds; False when nothing was.

    A condition that still waited is forgotten, and nobody ever hears of it.
    """
    with changes():
        raising.drop_wait(kind, condition)
        found = raising.find_open(kind, condition)
        if found is None:
            return False
        _resolve(bus, found, by=SERVER.name, note=note, now=now)
        return True


def clear_of_host(bus: EventBus, *, host_id: str, note: str, now: datetime) -> None:
    """Resolve all that is open about a host, before it goes; inside a transaction."""
    for alert in alerts.list_open_of_host(host_id, limit=1000):
        clear(bus, kind=alert.kind, condition=alert.condition, note=note, now=now)


def acknowledge(bus: EventBus, *, alert_id: str, actor: Actor, now: datetime) -> Alert:
    """Somebody knows of it: it stays open, and leaves "Needs you". Again: nothing changes. Raises Conflict if over."""
    with changes():
        found = alerts.get(alert_id)
        changed = (
            Alert.update(state="acknowledged", acknowledged_at=now, acknowledged_by=actor.name)
            .where(Alert.id == alert_id, Alert.state == "raised")
            .execute()
        )
        if changed:
            _record(actor, "alert.acknowledged", found, now)
            publish_after_commit(bus, AlertsChanged(alert_id, found.host_id))
            if found.incident_id is not None and not raising.has_raised(found.incident_id):
                incidents.acknowledged(bus, incident_id=found.incident_id, actor=actor, now=now)
            elif found.incident_id is not None:
                incident_events.note(
                    found.incident_id, "acknowledged", found.message, alert_id=alert_id, actor=actor.name, now=now
                )
        elif found.state == "resolved":
            raise _over()
        return alerts.get(alert_id)


def resolve(bus: EventBus, *, alert_id: str, actor: Actor, now: datetime) -> Alert:
    """Somebody says that it is over. Again: nothing changes."""
    with changes():
        found = alerts.get(alert_id)
        if found.state != "resolved":
            known = OpenAlert(found.id, found.kind, found.state, found.count, found.incident_id)
            _resolve(bus, known, by=actor.name, note="", now=now)
            _record(actor, "alert.resolved", found, now)
        return alerts.get(alert_id)


def snooze(
    bus: EventBus, *, alert_id: str, choice: str, chosen: datetime | None = None, actor: Actor, now: datetime
) -> Alert:
    """Let this one alert ask for nobody until then; see incidents.snooze. Raises Invalid or Conflict."""
    until = incidents.checked_snooze(choice, chosen, now)
    with changes():
        found = alerts.get(alert_id)
        if found.state == "resolved":
            raise _over()
        Alert.update(snoozed_until=until, snoozed_by=actor.name).where(Alert.id == alert_id).execute()
        _record(actor, "alert.snoozed", found, now, until=f"{until:%Y-%m-%d %H:%M} UTC")
        ends = [one.snoozed_until for one in alerts.list_open_of_incident(found.incident_id or "")]
        asleep = [end for end in ends if end is not None]
        if found.incident_id is not None and ends and len(asleep) == len(ends):
            incidents.snoozed(bus, incident_id=found.incident_id, until=min(asleep), actor=actor, now=now)
        elif found.incident_id is not None:
            text = f"{found.message} Until {until:%Y-%m-%d %H:%M} UTC."
            incident_events.note(found.incident_id, "snoozed", text, alert_id=alert_id, actor=actor.name, now=now)
        publish_after_commit(bus, AlertsChanged(alert_id, found.host_id))
        return alerts.get(alert_id)


def wake(bus: EventBus, *, alert_id: str, actor: Actor, now: datetime) -> Alert:
    """End its snooze before the time, and with it that of its incident. Without one nothing changes."""
    with changes():
        found = alerts.get(alert_id)
        if found.snoozed_until is not None:
            Alert.update(snoozed_until=None, snoozed_by="").where(Alert.id == alert_id).execute()
            if found.incident_id is not None:
                Incident.update(snoozed_until=None, snoozed_by="").where(Incident.id == found.incident_id).execute()
                incident_events.note(found.incident_id, "woken", "", alert_id=alert_id, actor=actor.name, now=now)
            _record(actor, "alert.woken", found, now)
            publish_after_commit(bus, AlertsChanged(alert_id, found.host_id))
        return alerts.get(alert_id)


def _seen_again(bus: EventBus, found: OpenAlert, new: NewAlert, *, cause: str, now: datetime) -> None:
    raising.count_up(found.id, new.message, now)
    incident = raising.get_incident(found.incident_id) if found.incident_id is not None else None
    if incident is None or incident.cause != cause:
        incidents.move(bus, alert_id=found.id, before_id=found.incident_id, new=new, cause=cause, now=now)
    else:
        raising.seen_again(incident.id, now)
        if incident.kind == new.kind and incident_rows.get(incident.id).alert_count == 1:
            Incident.update(message=new.message).where(Incident.id == incident.id).execute()
        if found.count < SIGHTINGS_TOLD:
            incident_events.note(incident.id, "again", new.message, alert_id=found.id, now=now)
    publish_after_commit(bus, AlertsChanged(found.id, new.host_id))


def _resolve(bus: EventBus, found: OpenAlert, *, by: str, note: str, now: datetime) -> None:
    if not raising.close_alert(found.id, by=by, note=note[:MESSAGE_LIMIT], now=now):
        return
    if found.incident_id is not None:
        incidents.left(
            bus, incident_id=found.incident_id, alert_id=found.id, kind=found.kind, by=by, note=note[:MESSAGE_LIMIT],
            now=now,
        )  # fmt: skip
    publish_after_commit(bus, AlertsChanged(found.id, raising.host_of(found.id)))


def _over() -> Conflict:
    return Conflict(
        "This alert is resolved already.", code="resolved", help="If it happens again, a new alert is raised."
    )  # fmt: skip


def _record(actor: Actor, action: str, found: Alert, now: datetime, **payload: object) -> None:
    audit.record(
        actor,
        action,
        now=now,
        kind="alert",
        id=found.id,
        name=KINDS[found.kind].title,
        about=found.condition,
        **payload,
    )
