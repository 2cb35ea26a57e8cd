"""Recording that the audit log itself was fetched."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.services import audit
from rm.store.database import changes


def note(*, actor: Actor, filters: dict[str, str], now: datetime) -> None:
    """Record who fetched the log, and which part of it."""
    with changes():
        audit.record(actor, "audit.exported", now=now, kind="audit", name="audit log", filters=filters)
