"""Named queries about alerts."""

from collections.abc import Iterable

from peewee import Case

from rm.errors import NotFound
from rm.store.models import Alert, Host

_GRAVE_FIRST = Case(Alert.severity, (("critical", 0),), 1)
_OPEN_FIRST = Case(Alert.state, (("raised", 0), ("acknowledged", 1)), 2)


def get(alert_id: str) -> Alert:
    """The alert; raises NotFound."""
    found = Alert.get_or_none(Alert.id == alert_id)
    if found is None:
        raise NotFound("There is no such alert.", help="It may have gone with its host. Alerts lists them all.")
    return found


def find_open(kind: str, condition: str) -> Alert | None:
    """The one row that is open for this condition."""
    return Alert.get_or_none(Alert.kind == kind, Alert.condition == condition, Alert.state != "resolved")


def list_raised(*, limit: int) -> list[Alert]:
    """What nobody has looked at yet, the gravest first."""
    query = Alert.select().where(Alert.state == "raised")
    return list(query.order_by(_GRAVE_FIRST, Alert.last_seen_at.desc(), Alert.id.desc()).limit(limit))


def list_page(*, state: str = "", limit: int, offset: int = 0) -> list[Alert]:
    """One page of alerts, open ones first, then the newest; `state` is one state, `open`, or empty for all."""
    query = Alert.select()
    if state == "open":
        query = query.where(Alert.state != "resolved")
    elif state:
        query = query.where(Alert.state == state)
    order = (_OPEN_FIRST, Alert.last_seen_at.desc(), Alert.id.desc())
    return list(query.order_by(*order).limit(limit).offset(offset))


def count_raised() -> int:
    return Alert.select().where(Alert.state == "raised").count()


def count_open() -> int:
    return Alert.select().where(Alert.state != "resolved").count()


def hosts_of(alerts: Iterable[Alert]) -> dict[str, Host]:
    """The hosts that these alerts are about, by id."""
    ids = {alert.host_id for alert in alerts if alert.host_id}
    return {host.id: host for host in Host.select().where(Host.id.in_(ids))} if ids else {}
