"""Writing the audit log, inside the transaction of what it records."""

from datetime import datetime
from typing import Any

from rm.domain.actors import Actor
from rm.store.models import AuditEntry


def record(
    actor: Actor, action: str, *, now: datetime, kind: str = "", id: str = "", name: str = "", **payload: Any
) -> None:
    """One entry; `action` is noun.verb in the past, the payload never holds a secret."""
    AuditEntry.create(
        at=now,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        address=actor.address,
        action=action,
        target_kind=kind,
        target_id=id,
        target_name=name,
        payload=payload,
    )
