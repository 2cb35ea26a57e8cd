"""Stored secrets that this server's key file does not open: the alert, and its end."""

from datetime import datetime

from rm.events import EventBus
from rm.services import alerts
from rm.store import hosts, raising
from rm.store.database import changes
from rm.store.vault import UnsealError

KIND = "certificate_or_key_problem"
CAUSE = "server:key"


def found(bus: EventBus, *, host_id: str, error: UnsealError, now: datetime) -> None:
    """What this host is to have cannot be sent, because a secret in it does not open."""
    with changes():
        host = hosts.find(host_id)
        if host is not None and raising.find_open(KIND, _about(host_id)) is None:
            alerts.raise_alert(
                bus, kind=KIND, condition=_about(host_id), host_id=host_id, cause=CAUSE, now=now,
                message=f"{host.name} does not get its settings: {error} Is the right key file in place? Put it back"
                " and start the server again, or enter that secret anew.",
            )  # fmt: skip


def gone(bus: EventBus, *, host_id: str, now: datetime) -> None:
    """All that this host is to have could be opened. Only reads, where nothing was wrong."""
    if raising.find_open(KIND, _about(host_id)) is not None:
        alerts.clear(bus, kind=KIND, condition=_about(host_id), note="Its secrets open again.", now=now)


def _about(host_id: str) -> str:
    return f"host:{host_id}:secrets"
