"""What is told to whom: each event of an incident becomes a row for each channel that wants it."""

from datetime import datetime

from rm.domain import delivering
from rm.domain.actors import SERVER
from rm.domain.delivering import Wishes
from rm.domain.notices import EVENTS, FAILURES, Notice
from rm.events import DeliveriesChanged, EventBus
from rm.services import general_settings
from rm.shared.ids import new_ulid
from rm.shared.instants import from_text, to_text
from rm.store import channels, deliveries
from rm.store.database import changes, publish_after_commit
from rm.store.models import AlertEvent, Channel, Delivery, Incident

FAILING = "channel_failing"
TEXT_LIMIT = 1000


def enqueue(bus: EventBus, *, incident: Incident, event: AlertEvent, now: datetime) -> None:
    """Keep what is to be told of this event, in the transaction that made it."""
    if event.kind not in EVENTS:
        return
    listening = channels.list_enabled()
    if not listening:
        return
    told = deliveries.of_failure(incident.id, [channel.id for channel in listening])
    if event.kind in FAILURES:
        wanting = _who_wants(incident, listening)
    else:
        if event.kind == "resolved":
            told = _drop_what_nobody_heard(bus, incident, now=now)
        wanting = [
            channel for channel in listening
            if delivering.follows_up(
                wishes(channel), event=event.kind, is_told=_is_told(told.get(channel.id, []), event.kind)
            )
        ]  # fmt: skip
    _keep(bus, wanting, incident=incident, event=event, now=now)


def catch_up(bus: EventBus, *, since: datetime, now: datetime) -> None:
    """Tell choosy channels of open incidents that grew into what they want to hear of."""
    listening = [channel for channel in channels.list_enabled() if wishes(channel).is_choosy]
    if not listening:
        return
    for incident in deliveries.grown_since(since):
        with changes():
            told = deliveries.of_failure(incident.id, [channel.id for channel in listening])
            untold = [channel for channel in listening if channel.id not in told]
            wanting = [one for one in _who_wants(incident, untold) if incident.last_seen_at >= one.created_at]
            event = deliveries.last_event(incident.id) if wanting else None
            if event is not None:
                _keep(bus, wanting, incident=incident, event=event, now=now, told_as="raised")


def notice(delivery: Delivery) -> Notice:
    """What a row tells."""
    known = delivery.payload
    return Notice(
        event=delivery.event, severity=known.get("severity", "warning"), title=known.get("title", ""),
        message=known.get("message" if delivery.event in FAILURES else "text", ""), advice=known.get("advice", ""),
        actor=known.get("actor", ""),
        kinds=tuple(known.get("kinds", ())), host_count=known.get("host_count", 0),
        hosts=tuple(known.get("hosts", ())), since=_instant(known.get("since")), at=_instant(known.get("at")),
        link=known.get("link", ""), incident_id=delivery.incident_id or "",
        server=general_settings.current().shown_name,
    )  # fmt: skip


def condition(channel_id: str) -> str:
    """What an alert about this channel is about."""
    return f"channel:{channel_id}"


def wishes(channel: Channel) -> Wishes:
    return Wishes(
        min_severity=channel.min_severity, kinds=tuple(channel.kinds), tags=tuple(channel.tags),
        tells_acknowledged=channel.tells_acknowledged, tells_resolved=channel.tells_resolved,
    )  # fmt: skip


def _who_wants(incident: Incident, listening: list[Channel]) -> list[Channel]:
    if not listening:
        return []
    kinds = deliveries.incident_kinds(incident.id) or [incident.kind]
    tags = deliveries.incident_tags(incident.id) if any(channel.tags for channel in listening) else []
    # That a channel is dead is not sent through it.
    dead = deliveries.incident_conditions(incident.id, FAILING) if FAILING in kinds else []
    return [
        channel for channel in listening
        if delivering.wants(wishes(channel), severity=incident.severity, kinds=kinds, tags=tags)
        and condition(channel.id) not in dead
    ]  # fmt: skip


def _keep(
    bus: EventBus, wanting: list[Channel], *, incident: Incident, event: AlertEvent, now: datetime, told_as: str = ""
) -> None:
    kind = told_as or event.kind
    actor = "" if event.actor == SERVER.name else event.actor
    payload = {
        "at": to_text(event.at), "actor": actor, "text": event.text[:TEXT_LIMIT], "title": incident.title,
    }  # fmt: skip
    for channel in wanting:
        Delivery.insert(
            id=new_ulid(int(now.timestamp() * 1000)), channel=channel.id, incident=incident.id, event_id=event.id,
            event=kind, payload=payload, created_at=now,
            next_try_at=now + delivering.SETTLING if kind == "raised" else now,
        ).on_conflict_ignore().execute()  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel.id))


def _drop_what_nobody_heard(bus: EventBus, incident: Incident, *, now: datetime) -> dict[str, list[Delivery]]:
    """An incident that ended before anybody was told of it: nobody is told of its end either."""
    told = deliveries.of_failure(incident.id, [channel.id for channel in channels.list_all()])
    for channel_id, found in told.items():
        if _is_told(found, "resolved"):
            continue
        Delivery.update(
            state="dropped", ended_at=now, next_try_at=None, reason="It was over before it could be told."
        ).where(
            Delivery.incident == incident.id, Delivery.channel == channel_id, Delivery.state == "queued"
        ).execute()  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel_id))
    return told


def _is_told(found: list[Delivery], event: str) -> bool:
    """Whether the failure was heard of before this event: a try that failed may have arrived all the same."""
    may_wait = event == "acknowledged"  # then the failure still goes first
    return any(one.state == "sent" or (one.state == "queued" and (one.tries > 0 or may_wait)) for one in found)


def _instant(text: str | None) -> datetime | None:
    return from_text(text) if text else None
