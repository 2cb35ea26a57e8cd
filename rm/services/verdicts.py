"""The stored sentence of each source group: what is, why, and what comes next."""

from datetime import datetime

from rm.events import EventBus


def refresh(bus: EventBus, *, host_id: str, now: datetime) -> None:
    """Judge the host's groups anew; call it inside the transaction of what changed."""
