"""What time alone does to alerts: patience and snoozes end, and what has been over for long enough is told as over."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from rm.events import AlertsChanged, EventBus
from rm.services import alert_settings, alerts, incident_events
from rm.store import incidents
from rm.store.database import changes, publish_after_commit
from rm.store.models import Alert, AlertWait, Incident

Due = TypeVar("Due")

MOST_AT_ONCE = 200


def sweep(bus: EventBus, *, now: datetime, is_settled: bool = True) -> int:
    """Do what is due, each in a transaction of its own; returns how much that was.

    While the server has only just begun to listen (`is_settled` false) no patience ends: what waits may be over, and
    the report of that on its way.
    """
    return (
        # those of whole incidents too, which is why it comes first: thousands are not to end in one transaction
        _wake_alerts(now)
        + _each(lambda: incidents.list_snooze_ends(now, limit=MOST_AT_ONCE), lambda one: _end_snooze(bus, one, now))
        + _each(lambda: incidents.list_untold_ends(now, limit=MOST_AT_ONCE), lambda one: _tell_end(bus, one, now))
        + (_each(lambda: incidents.list_due_waits(now, limit=MOST_AT_ONCE), lambda one: _raise(bus, one, now))
           if is_settled else 0)
    )  # fmt: skip


def _each(read: Callable[[], list[Due]], act: Callable[[Due], None]) -> int:
    found = read()
    for one in found:
        with changes():
            act(one)
        # hundreds may be due at once: between two of them everybody else has a turn
        time.sleep(0)
    return len(found)


def _end_snooze(bus: EventBus, found: Incident, now: datetime) -> None:
    Incident.update(snoozed_until=None, snoozed_by="").where(Incident.id == found.id).execute()
    Alert.update(snoozed_until=None, snoozed_by="").where(
        Alert.incident == found.id, Alert.snoozed_until <= now
    ).execute()
    if found.state == "raised":
        text = f"The snooze is over, and it still holds. {found.message}"
        incident_events.tell(bus, found.id, "raised", text, now=now)
    else:
        incident_events.note(found.id, "snooze_ended", "", now=now)
    publish_after_commit(bus, AlertsChanged(found.id, found.host_id))


def _wake_alerts(now: datetime) -> int:
    """End the snoozes of alerts, some in each transaction."""
    is_over = Alert.snoozed_until.is_null(False) & (Alert.snoozed_until <= now)
    woken, count = 0, MOST_AT_ONCE
    while count == MOST_AT_ONCE:
        with changes():
            some = Alert.select(Alert.id).where(is_over).limit(MOST_AT_ONCE)
            count = int(Alert.update(snoozed_until=None, snoozed_by="").where(Alert.id.in_(some)).execute())
        woken += count
        time.sleep(0)
    return woken


def _tell_end(bus: EventBus, found: Incident, now: datetime) -> None:
    Incident.update(end_told_at=None).where(Incident.id == found.id).execute()
    event = incidents.last_event(found.id, "resolved")
    if found.state == "resolved" and event is not None:
        incident_events.pass_on(bus, event, now=now)


def _raise(bus: EventBus, wait: AlertWait, now: datetime) -> None:
    due_at = wait.since + alert_settings.patience_with(wait.kind, wait.host_id)
    if due_at > now:
        AlertWait.update(due_at=due_at).where(
            AlertWait.kind == wait.kind, AlertWait.condition == wait.condition
        ).execute()
        return
    alerts.raise_waiting(bus, wait, now=now)
