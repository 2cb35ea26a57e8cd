"""What is told to whom: each event of an incident becomes a row for each channel that wants it."""

from datetime import datetime

from rm.events import EventBus
from rm.store.models import AlertEvent, Incident


def enqueue(bus: EventBus, *, incident: Incident, event: AlertEvent, now: datetime) -> None:
    """Keep what is to be told of this event, in the transaction that made it."""
