"""Each try to deliver: counted before it is made, marked after it, and what follows from failing."""

from datetime import datetime
from typing import Any

from rm.domain import delivering
from rm.domain.actors import Actor
from rm.domain.alerts import KINDS
from rm.errors import Conflict
from rm.events import DeliveriesChanged, EventBus
from rm.services import alerts, audit
from rm.services.deliveries import FAILING, condition
from rm.shared.instants import to_text
from rm.store import deliveries
from rm.store.database import changes, publish_after_commit
from rm.store.models import Channel, Delivery, Incident


def begin(delivery_id: str, *, base_url: str, now: datetime) -> Delivery | None:
    """Count a try before it is made, so that 0 means surely unsent; None if the row is no longer to be sent.

    With the first try what is told gets its numbers, and keeps them: a repetition says the same under the same id.
    """
    with changes():
        found = Delivery.get_or_none(Delivery.id == delivery_id, Delivery.state == "queued")
        if found is None:
            return None
        payload = found.payload
        if found.tries == 0 and found.incident_id is not None:
            payload = payload | _facts(found.incident, base_url)
        Delivery.update(tries=Delivery.tries + 1, payload=payload).where(Delivery.id == delivery_id).execute()
        return deliveries.get(delivery_id)


def arrived(bus: EventBus, *, delivery_id: str, now: datetime) -> None:
    """The other side took it: the channel is well, and what waited for that is due."""
    with changes():
        found = deliveries.find(delivery_id)
        if found is None:  # the channel was removed meanwhile
            return
        Delivery.update(state="sent", ended_at=now, next_try_at=None, reason="").where(
            Delivery.id == delivery_id
        ).execute()
        is_recovered = found.channel.failing_since is not None
        Channel.update(last_ok_at=now, failing_since=None, failures=0, paused_until=None).where(
            Channel.id == found.channel_id
        ).execute()
        if is_recovered:
            _now_due(found.channel_id, now)
        alerts.clear(
            bus, kind=FAILING, condition=condition(found.channel_id), now=now,
            note=f"A delivery through {found.channel.name} arrived.",
        )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(found.channel_id))


def not_arrived(bus: EventBus, *, delivery_id: str, reason: str, now: datetime) -> None:
    """A try failed: the row waits, or is given up; a channel that fails too often raises an alert."""
    with changes():
        found = deliveries.find(delivery_id)
        if found is None:
            return
        at = delivering.next_try(tries=found.tries, created_at=found.created_at, now=now)
        ended: dict[str, Any] = {"state": "given_up", "ended_at": now} if at is None else {}
        Delivery.update(next_try_at=at, reason=reason, **ended).where(
            Delivery.id == delivery_id, Delivery.state == "queued"
        ).execute()
        channel = found.channel
        failures = channel.failures + 1
        Channel.update(
            failures=failures, failing_since=channel.failing_since or now,
            paused_until=now + delivering.channel_pause(failures),
        ).where(Channel.id == channel.id).execute()  # fmt: skip
        if delivering.is_dead(failures, gave_up=at is None):
            alerts.raise_alert(
                bus, kind=FAILING, condition=condition(channel.id), now=now,
                message=f"The channel {channel.name} does not take what it is sent: {reason}",
            )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel.id))


def retry_now(bus: EventBus, *, delivery_id: str, actor: Actor, now: datetime) -> Delivery:
    """Try again at once, also what was given up. Raises Conflict for what arrived or need not be told any more."""
    with changes():
        found = deliveries.get(delivery_id)
        if found.state not in ("queued", "given_up") or found.event == "test":
            raise Conflict("There is nothing to try again: this delivery has ended.", code="delivery_ended")
        if not found.channel.is_enabled:
            raise Conflict(
                f"{found.channel.name} is switched off.", code="channel_off", help="Switch the channel on first."
            )
        # The day within which it is given up begins anew.
        again = {"state": "queued", "ended_at": None, "created_at": now} if found.state == "given_up" else {}
        Delivery.update(next_try_at=now, **again).where(Delivery.id == delivery_id).execute()
        Channel.update(paused_until=None).where(Channel.id == found.channel_id).execute()
        audit.record(
            actor, "delivery.retried", now=now, kind="channel", id=found.channel_id, name=found.channel.name,
            delivery=found.id,
        )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(found.channel_id))
        return deliveries.get(delivery_id)


def _now_due(channel_id: str, now: datetime) -> None:
    Delivery.update(next_try_at=now).where(
        Delivery.channel == channel_id, Delivery.state == "queued", Delivery.next_try_at > now, Delivery.tries > 0
    ).execute()


def _facts(incident: Incident, base_url: str) -> dict[str, Any]:
    count, names = deliveries.incident_hosts(incident.id)
    kind = KINDS.get(incident.kind)
    return {
        "severity": incident.severity, "title": incident.title, "message": incident.message,
        "advice": kind.advice if kind else "", "kinds": deliveries.incident_kinds(incident.id),
        "host_count": count, "hosts": names, "since": to_text(incident.opened_at),
        "link": f"{base_url}/alerts/{incident.id}",
    }  # fmt: skip
