"""The timeline of an incident: what happened, and of which of it people are told."""

from datetime import datetime

from rm.events import EventBus
from rm.services import deliveries
from rm.store import incidents, raising
from rm.store.models import AlertEvent

TEXT_LIMIT = 1000


def note(incident_id: str, kind: str, text: str, *, now: datetime, alert_id: str | None = None, actor: str = "") -> int:
    """One line that nobody is told of; returns its number. Inside a transaction."""
    return raising.insert_event(incident_id, kind, text[:TEXT_LIMIT], alert_id=alert_id, actor=actor, now=now)


def tell(
    bus: EventBus, incident_id: str, kind: str, text: str, *, now: datetime, alert_id: str | None = None,
    actor: str = "",
) -> None:  # fmt: skip
    """One line that people are told of, in the transaction of what it is about."""
    number = note(incident_id, kind, text, now=now, alert_id=alert_id, actor=actor)
    pass_on(bus, AlertEvent.get_by_id(number), now=now)


def pass_on(bus: EventBus, event: AlertEvent, *, now: datetime) -> None:
    """Have people told of a line that is there already."""
    deliveries.enqueue(bus, incident=incidents.get(event.incident_id), event=event, now=now)
