"""Alerts: what a person must know. One open row per kind and condition; seen again, it counts."""

from datetime import datetime

from rm.domain.actors import SERVER, Actor
from rm.domain.alerts import KINDS
from rm.errors import Conflict
from rm.events import AlertsChanged, EventBus
from rm.services import audit
from rm.shared.ids import new_ulid
from rm.store import alerts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Alert

MESSAGE_LIMIT = 1000


def raise_alert(
    bus: EventBus,
    *,
    kind: str,
    condition: str,
    message: str,
    now: datetime,
    host_id: str | None = None,
    repository_id: str | None = None,
) -> Alert:
    """The open alert about this condition, made or counted up.

    Call it inside the transaction of what caused it: both are committed or neither.
    """
    severity = KINDS[kind].severity
    text = message[:MESSAGE_LIMIT]
    with changes():
        found = alerts.find_open(kind, condition)
        if found is None:
            found = Alert.create(
                id=new_ulid(),
                kind=kind,
                severity=severity,
                condition=condition,
                host=host_id,
                repository=repository_id,
                message=text,
                first_seen_at=now,
                last_seen_at=now,
            )
        else:
            Alert.update(count=Alert.count + 1, last_seen_at=now, message=text).where(Alert.id == found.id).execute()
        publish_after_commit(bus, AlertsChanged(found.id))
        return alerts.get(found.id)


def reword(bus: EventBus, *, kind: str, condition: str, message: str, now: datetime) -> bool:
    """Say better what an open alert is about, without counting it once more; False when none is open."""
    with changes():
        found = alerts.find_open(kind, condition)
        if found is None:
            return False
        Alert.update(message=message[:MESSAGE_LIMIT], last_seen_at=now).where(Alert.id == found.id).execute()
        publish_after_commit(bus, AlertsChanged(found.id))
        return True


def clear(bus: EventBus, *, kind: str, condition: str, note: str, now: datetime) -> bool:
    """Resolve what is open about this condition because it no longer holds; False when nothing was."""
    with changes():
        found = alerts.find_open(kind, condition)
        if found is None:
            return False
        _resolve(bus, found, by=SERVER.name, note=note, now=now)
        return True


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
            publish_after_commit(bus, AlertsChanged(alert_id))
        elif found.state == "resolved":
            raise Conflict(
                "This alert is resolved already.", code="resolved", help="If it happens again, a new alert is raised."
            )
        return alerts.get(alert_id)


def resolve(bus: EventBus, *, alert_id: str, actor: Actor, now: datetime) -> Alert:
    """Somebody says that it is over. Again: nothing changes."""
    with changes():
        found = alerts.get(alert_id)
        if found.state != "resolved":
            _resolve(bus, found, by=actor.name, note="", now=now)
            _record(actor, "alert.resolved", found, now)
        return alerts.get(alert_id)


def _resolve(bus: EventBus, found: Alert, *, by: str, note: str, now: datetime) -> None:
    Alert.update(state="resolved", resolved_at=now, resolved_by=by, note=note).where(
        Alert.id == found.id, Alert.state != "resolved"
    ).execute()
    publish_after_commit(bus, AlertsChanged(found.id))


def _record(actor: Actor, action: str, found: Alert, now: datetime) -> None:
    audit.record(actor, action, now=now, kind="alert", id=found.id, name=KINDS[found.kind].title, about=found.condition)
