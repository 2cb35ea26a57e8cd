"""What people are told of incidents, caught where notifications begin."""

from dataclasses import dataclass, field
from datetime import datetime

from rm.events import EventBus
from rm.store.models import AlertEvent, Incident


@dataclass
class Told:
    """Every event that was passed on, in order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def enqueue(self, bus: EventBus, *, incident: Incident, event: AlertEvent, now: datetime) -> None:
        self.events.append((event.kind, incident.title))
        self.texts.append(event.text)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]
