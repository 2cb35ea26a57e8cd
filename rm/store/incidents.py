"""Named queries about incidents, their timelines, and what is due about them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from peewee import Case, Expression, ModelSelect, fn

from rm.errors import NotFound
from rm.store import token_scope
from rm.store.models import Alert, AlertEvent, AlertWait, Host, HostTag, Incident

_GRAVE_FIRST = Case(Incident.severity, (("critical", 0),), 1)
_OPEN_FIRST = Case(Incident.state, (("raised", 0), ("acknowledged", 1)), 2)
STATES = ("open", "needs", "acknowledged", "snoozed", "resolved")


@dataclass(frozen=True)
class Wanted:
    """Which incidents a list shows; empty: whichever. `state` is one of STATES, `tag` that of a host in it."""

    state: str = ""
    severity: str = ""
    kind: str = ""
    host_id: str = ""
    tag: str = ""
    q: str = ""
    scope: tuple[str, ...] = ()
    """Tags of hosts: only what alerts about those say counts, also for the other wishes."""


def find(incident_id: str | None) -> Incident | None:
    return Incident.get_or_none(Incident.id == incident_id) if incident_id else None


def get(incident_id: str) -> Incident:
    """The incident; raises NotFound."""
    found = find(incident_id)
    if found is None:
        raise NotFound("There is no such incident.", help="It may have gone with its host. Alerts lists them all.")
    return found


def list_page(wanted: Wanted, *, now: datetime, limit: int, offset: int = 0) -> list[Incident]:
    """One page: what needs somebody first, then what is open, each the gravest and newest first."""
    asleep = Case(None, ((Incident.snoozed_until > now, 1),), 0)
    order = (_OPEN_FIRST, asleep, _GRAVE_FIRST, Incident.last_seen_at.desc(), Incident.id.desc())
    if wanted.state == "resolved":
        order = (Incident.resolved_at.desc(), Incident.id.desc())
    return list(_wanted(wanted, now).order_by(*order).limit(limit).offset(offset))


def count(wanted: Wanted, *, now: datetime) -> int:
    return int(_wanted(wanted, now).count())


def list_needing(now: datetime, *, limit: int) -> list[Incident]:
    """Those that ask for somebody at this moment, the gravest and newest first."""
    query = Incident.select().where(_needs(now))
    return list(query.order_by(_GRAVE_FIRST, Incident.last_seen_at.desc(), Incident.id.desc()).limit(limit))


def count_needing(now: datetime) -> int:
    return int(Incident.select().where(_needs(now)).count())


def counts(now: datetime) -> dict[str, int]:
    """How many incidents each of needs, acknowledged and snoozed has."""
    return {state: count(Wanted(state=state), now=now) for state in ("needs", "acknowledged", "snoozed")}


def list_alerts(
    incident_id: str, *, limit: int, offset: int = 0, scope: tuple[str, ...] = ()
) -> list[Alert]:  # fmt: skip
    """One page of its alerts: those that nobody looked at first, resolved ones last. `scope` as in Wanted."""
    order = Case(Alert.state, (("raised", 0), ("acknowledged", 1)), 2)
    query = Alert.select().where(Alert.incident == incident_id)
    if scope:
        query = query.where(Alert.host.in_(token_scope.host_ids(scope)))
    return list(query.order_by(order, Alert.id).limit(limit).offset(offset))


def list_events(
    incident_id: str, *, limit: int, offset: int = 0, scope: tuple[str, ...] = ()
) -> list[AlertEvent]:  # fmt: skip
    """Its timeline, the newest first; with a `scope` without what happened to alerts of other hosts."""
    query = AlertEvent.select().where(AlertEvent.incident == incident_id)
    if scope:
        own = Alert.select(Alert.id).where(Alert.host.in_(token_scope.host_ids(scope)))
        query = query.where(AlertEvent.alert_id.is_null() | AlertEvent.alert_id.in_(own))
    return list(query.order_by(AlertEvent.id.desc()).limit(limit).offset(offset))


def count_events(incident_id: str) -> int:
    return int(AlertEvent.select().where(AlertEvent.incident == incident_id).count())


def last_event(incident_id: str, kind: str) -> AlertEvent | None:
    """The newest line of this kind in its timeline."""
    query = AlertEvent.select().where(AlertEvent.incident == incident_id, AlertEvent.kind == kind)
    return query.order_by(AlertEvent.id.desc()).first()


def count_hosts(incident_ids: Iterable[str]) -> dict[str, int]:
    """With how many hosts each of these incidents is open."""
    query = (
        Alert.select(Alert.incident, fn.COUNT(Alert.host.distinct()))
        .where(Alert.incident.in_(list(incident_ids)), Alert.state != "resolved")
        .group_by(Alert.incident)
    )
    return dict(query.tuples())


# ---- what is due ----


def list_snooze_ends(now: datetime, *, limit: int) -> list[Incident]:
    """Incidents whose snooze is over."""
    query = Incident.select().where(Incident.snoozed_until.is_null(False), Incident.snoozed_until <= now)
    return list(query.order_by(Incident.snoozed_until).limit(limit))


def list_untold_ends(now: datetime, *, limit: int) -> list[Incident]:
    """Incidents that have been over for long enough that their end is to be told."""
    query = Incident.select().where(Incident.end_told_at.is_null(False), Incident.end_told_at <= now)
    return list(query.order_by(Incident.end_told_at).limit(limit))


def list_due_waits(now: datetime, *, limit: int) -> list[AlertWait]:
    """Conditions whose patience is over."""
    return list(AlertWait.select().where(AlertWait.due_at <= now).order_by(AlertWait.due_at).limit(limit))


def list_waits(*, host_id: str | None = None) -> list[AlertWait]:
    """Conditions that wait, of one host or of all."""
    query = AlertWait.select()
    return list(query.where(AlertWait.host == host_id) if host_id is not None else query)


def _needs(now: datetime) -> Expression:
    return (Incident.state == "raised") & (Incident.snoozed_until.is_null() | (Incident.snoozed_until <= now))


def _wanted(wanted: Wanted, now: datetime) -> ModelSelect:
    query = Incident.select()
    if wanted.state == "open":
        query = query.where(Incident.state != "resolved")
    elif wanted.state == "needs":
        query = query.where(_needs(now))
    elif wanted.state == "snoozed":
        query = query.where(Incident.state != "resolved", Incident.snoozed_until > now)
    elif wanted.state == "acknowledged":
        query = query.where(
            Incident.state == "acknowledged", Incident.snoozed_until.is_null() | (Incident.snoozed_until <= now)
        )  # fmt: skip
    elif wanted.state == "resolved":
        query = query.where(Incident.state == "resolved")
    if wanted.severity:
        query = query.where(Incident.severity == wanted.severity)
    counting = Alert.select(Alert.incident)
    if wanted.scope:
        counting = counting.where(Alert.host.in_(token_scope.host_ids(wanted.scope)))
        query = query.where(Incident.id.in_(counting))
    if wanted.kind:
        query = query.where(Incident.id.in_(counting.where(Alert.kind == wanted.kind)))
    if wanted.host_id:
        query = query.where(Incident.id.in_(counting.where(Alert.host == wanted.host_id)))
    if wanted.tag:
        tagged = HostTag.select(HostTag.host_id).where(HostTag.tag == wanted.tag)
        query = query.where(Incident.id.in_(counting.where(Alert.host.in_(tagged))))
    if wanted.q:
        named = Host.select(Host.id).where(Host.name.contains(wanted.q))
        about = Incident.id.in_(counting.where(Alert.host.in_(named)))
        if wanted.scope:
            # its title and message may be those of a host that the asker must not hear of
            about |= Incident.id.in_(counting.where(Alert.message.contains(wanted.q)))
        else:
            about |= Incident.title.contains(wanted.q) | Incident.message.contains(wanted.q)
        query = query.where(about)
    return query
