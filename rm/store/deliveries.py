"""Named queries about deliveries, and what they need to know of incidents."""

from collections.abc import Collection
from datetime import datetime

from peewee import fn

from rm.domain.notices import FAILURES, HOSTS_NAMED
from rm.errors import NotFound
from rm.store.models import Alert, AlertEvent, Channel, Delivery, Host, HostTag, Incident


def get(delivery_id: str) -> Delivery:
    """The delivery; raises NotFound."""
    found = find(delivery_id)
    if found is None:
        raise NotFound("There is no such delivery.", help="The channel's delivery log lists those that are kept.")
    return found


def find(delivery_id: str) -> Delivery | None:
    return Delivery.get_or_none(Delivery.id == delivery_id)


def next_due(channel_id: str, *, now: datetime) -> Delivery | None:
    """What this channel is to be sent next: the first due, and nothing of an incident before what came earlier."""
    earlier = Delivery.alias()
    waits_for_earlier = fn.EXISTS(
        earlier.select(1).where(
            earlier.channel == Delivery.channel, earlier.incident == Delivery.incident, earlier.state == "queued",
            earlier.event_id < Delivery.event_id,
        )
    )  # fmt: skip
    query = Delivery.select().where(
        Delivery.channel == channel_id, Delivery.state == "queued", Delivery.next_try_at <= now, ~waits_for_earlier
    )
    return query.order_by(Delivery.next_try_at, Delivery.event_id).first()


def channels_due(*, now: datetime) -> list[str]:
    """The channels that have something to send and do not rest after a failure."""
    query = (
        Delivery.select(Delivery.channel)
        .join(Channel)
        .where(
            Delivery.state == "queued", Delivery.next_try_at <= now, Channel.is_enabled,
            Channel.paused_until.is_null() | (Channel.paused_until <= now),
        )
        .distinct()
    )  # fmt: skip
    return [found for (found,) in query.tuples()]


def list_page(
    *, channel_id: str | None = None, incident_id: str | None = None, state: str = "", limit: int, offset: int = 0
) -> list[Delivery]:
    """One page of the log, the newest first; of one channel, of one incident, or of all."""
    query = Delivery.select(Delivery, Channel).join(Channel)
    if channel_id is not None:
        query = query.where(Delivery.channel == channel_id)
    if incident_id is not None:
        query = query.where(Delivery.incident == incident_id)
    if state:
        query = query.where(Delivery.state == state)
    return list(query.order_by(Delivery.id.desc()).limit(limit).offset(offset))


def count_queued(channel_id: str) -> int:
    return Delivery.select().where(Delivery.channel == channel_id, Delivery.state == "queued").count()


def of_failure(incident_id: str, channel_ids: Collection[str]) -> dict[str, list[Delivery]]:
    """By channel, what it was or is to be told of the incident's failure, whatever became of that."""
    query = Delivery.select().where(
        Delivery.incident == incident_id, Delivery.event.in_(FAILURES), Delivery.channel.in_(channel_ids)
    )
    found: dict[str, list[Delivery]] = {}
    for delivery in query:
        found.setdefault(delivery.channel_id, []).append(delivery)
    return found


def incident_kinds(incident_id: str) -> list[str]:
    """The kinds of the alerts that an incident groups."""
    query = Alert.select(Alert.kind).where(Alert.incident == incident_id).distinct().order_by(Alert.kind)
    return [kind for (kind,) in query.tuples()]


def incident_tags(incident_id: str) -> list[str]:
    """The tags of the hosts that an incident is about."""
    hosts = Alert.select(Alert.host).where(Alert.incident == incident_id, Alert.host.is_null(False))
    return [tag for (tag,) in HostTag.select(HostTag.tag).where(HostTag.host.in_(hosts)).distinct().tuples()]


def incident_conditions(incident_id: str, kind: str) -> list[str]:
    query = Alert.select(Alert.condition).where(Alert.incident == incident_id, Alert.kind == kind).limit(100)
    return [condition for (condition,) in query.tuples()]


def incident_hosts(incident_id: str) -> tuple[int, list[str]]:
    """How many hosts an incident is about, and the first names of them."""
    query = Host.select(Host.name).join(Alert).where(Alert.incident == incident_id).distinct()
    names = [name for (name,) in query.order_by(Host.name).limit(HOSTS_NAMED).tuples()]
    count = len(names) if len(names) < HOSTS_NAMED else query.count()
    return count, names


def grown_since(at: datetime) -> list[Incident]:
    """Open incidents that got another alert since then."""
    alerts = Alert.select(Alert.incident).where(Alert.first_seen_at >= at, Alert.incident.is_null(False)).distinct()
    return list(Incident.select().where(Incident.state != "resolved", Incident.id.in_(alerts)))


def last_event(incident_id: str) -> AlertEvent | None:
    query = AlertEvent.select().where(AlertEvent.incident == incident_id)
    return query.order_by(AlertEvent.id.desc()).first()
