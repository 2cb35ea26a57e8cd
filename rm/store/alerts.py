"""Named queries about alerts."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from peewee import Case

from rm.errors import NotFound
from rm.store import token_scope
from rm.store.models import Alert, Host, Repository, SourceGroup

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


def list_page(*, state: str = "", limit: int, offset: int = 0, scope: Sequence[str] = ()) -> list[Alert]:
    """One page of alerts, open ones first, then the newest; `state` is one state, `open`, or empty for all.

    With a `scope`: only those about hosts that have one of these tags.
    """
    query = Alert.select()
    if scope:
        query = query.where(Alert.host.in_(token_scope.host_ids(scope)))
    if state and state != "resolved":
        # also beside the one state: the index of open alerts is used where this is said
        query = query.where(Alert.state != "resolved")
    if state and state != "open":
        query = query.where(Alert.state == state)
    order = (_OPEN_FIRST, Alert.last_seen_at.desc(), Alert.id.desc())
    return list(query.order_by(*order).limit(limit).offset(offset))


def list_open_of_host(host_id: str, *, limit: int) -> list[Alert]:
    """What is open about a host, the gravest first."""
    query = Alert.select().where(Alert.host == host_id, Alert.state != "resolved")
    return list(query.order_by(_GRAVE_FIRST, Alert.last_seen_at.desc(), Alert.id.desc()).limit(limit))


def list_open_of_incident(incident_id: str) -> list[Alert]:
    return list(Alert.select().where(Alert.incident == incident_id, Alert.state != "resolved"))


def failing_hosts(incident_id: str, *, since: datetime | None, limit: int) -> list[tuple[str, str]]:
    """Id and name of the first hosts of which backups fail in this incident, and did so after `since`."""
    query = (
        Alert.select(Host.id, Host.name)
        .join(Host)
        .where(Alert.incident == incident_id, Alert.state != "resolved", Alert.kind == "backup_failed")
    )
    if since is not None:
        query = query.where(Alert.last_seen_at > since)
    return list(query.distinct().limit(limit).tuples())


def last_end(kind: str, condition: str) -> datetime | None:
    """When this condition last ended."""
    query = Alert.select(Alert.resolved_at).where(Alert.kind == kind, Alert.condition == condition)
    found = query.where(Alert.resolved_at.is_null(False)).order_by(Alert.resolved_at.desc()).tuples().first()
    return found[0] if found is not None else None


def hosts_of(alerts: Iterable[Alert]) -> dict[str, Host]:
    """The hosts that these alerts are about, by id."""
    ids = {alert.host_id for alert in alerts if alert.host_id}
    return {host.id: host for host in Host.select().where(Host.id.in_(ids))} if ids else {}


def name_of(*, condition: str, host_id: str | None, repository_id: str | None) -> str:
    """What a condition is about, by the names that people gave: "files on web-1"; empty for none."""
    group = None
    if condition.startswith("group:"):
        group = SourceGroup.select(SourceGroup.name).where(SourceGroup.id == condition[6:]).tuples().first()
    host = Host.select(Host.name).where(Host.id == host_id).tuples().first() if host_id else None
    if group is not None and host is not None:
        return f"{group[0]} on {host[0]}"
    if host is not None:
        return str(host[0])
    found = Repository.select(Repository.name).where(Repository.id == repository_id) if repository_id else None
    repository = found.tuples().first() if found is not None else None
    return str(repository[0]) if repository is not None else ""
