"""What silence makes of attempts: timed exits, and deadlines set anew after a start or a changed clock."""

import logging
from datetime import datetime, timedelta
from typing import Any

from rm.domain import update_attempt as rules
from rm.domain.health import is_online
from rm.events import EventBus
from rm.services.update_steps import facts, next_epoch, take
from rm.store import updates
from rm.store.database import changes
from rm.store.models import UpdateAttempt

log = logging.getLogger(__name__)


def sweep(bus: EventBus, *, now: datetime) -> int:
    """Take the timed exit of every attempt whose deadline has passed; returns how many. One query when none has."""
    if not updates.is_any_overdue(now):
        return 0
    count = 0
    for row in updates.list_overdue(now):
        try:
            count += _take_exit(bus, row.job_id, now=now)
        except Exception:
            # one attempt that cannot be judged must not keep the others from their exits
            log.exception("the deadline of the update %s could not be judged", row.job_id)
    return count


def rearm(bus: EventBus, *, now: datetime) -> int:
    """Set the open deadlines anew: after a start, and when the wall clock was changed. Returns how many."""
    count = 0
    with changes():
        for row in updates.list_open():
            step = rules.rearm(facts(row), now)
            count += step is not None and take(bus, row, step, now=now)
    return count


def _take_exit(bus: EventBus, job_id: str, *, now: datetime) -> bool:
    with changes():
        row = updates.find(job_id)
        step = rules.overdue(facts(row), _signs(row, now), now) if row is not None else None
        if row is None or step is None:
            return False
        more: dict[str, Any] = {"epoch": next_epoch(row.host_id, now)} if step.fields["state"] == "queued" else {}
        return take(bus, row, step, now=now, **more)


def _signs(row: UpdateAttempt, now: datetime) -> rules.Signs:
    host = row.host
    connected = host.connected_at is not None
    online = is_online(is_connected=connected, last_seen_at=host.last_seen_at, now=now)
    soak = timedelta(seconds=row.timers.get("soak_seconds", 0))
    return rules.Signs(
        is_connected=online,
        has_soaked=online and row.soak_until is not None and host.connected_at <= row.soak_until - soak,
        has_returned=connected and row.fenced_at is not None and host.connected_at > row.fenced_at
        and host.agent_seq == row.from_seq,
        is_revoked=host.revoked_at is not None,
    )  # fmt: skip
