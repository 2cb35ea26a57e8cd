"""Whether a thing is in the scope of a token: what belongs to hosts that have one of its tags."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from peewee import Case, ModelSelect, fn

from rm.store.models import Alert, Host, HostTag, Job, Snapshot

Tags = Sequence[str]


def host_ids(tags: Tags) -> ModelSelect:
    """The ids of the hosts that have one of these tags, as part of another query."""
    return HostTag.select(HostTag.host_id).where(HostTag.tag.in_(tags))


def repository_ids(tags: Tags) -> ModelSelect:
    """The ids of the repositories that such hosts use, as part of another query."""
    return Host.select(Host.repository).where(Host.repository.is_null(False), Host.id.in_(host_ids(tags)))


def has_hosts(tags: Tags, ids: Collection[str]) -> bool:
    """Whether every one of these hosts is in the scope."""
    wanted = set(ids)
    found = Host.select(Host.id).where(Host.id.in_(wanted), Host.id.in_(host_ids(tags))).count()
    return found == len(wanted)


def those_within(tags: Tags, ids: Collection[str]) -> set[str]:
    """Those of these hosts that are in the scope."""
    query = HostTag.select(HostTag.host).where(HostTag.host.in_(set(ids)), HostTag.tag.in_(tags))
    return {host_id for (host_id,) in query.tuples()}


def has_job(tags: Tags, job_id: str) -> bool:
    return Job.select(Job.id).where(Job.id == job_id, Job.host.in_(host_ids(tags))).exists()


def sees_repository(tags: Tags, repository_id: str) -> bool:
    """Whether a host of the scope uses it."""
    return Host.select(Host.id).where(Host.repository == repository_id, Host.id.in_(host_ids(tags))).exists()


def has_repository(tags: Tags, repository_id: str) -> bool:
    """Whether no host outside the scope uses it."""
    others = Host.select(Host.id).where(Host.repository == repository_id, Host.id.not_in(host_ids(tags)))
    return sees_repository(tags, repository_id) and not others.exists()


def has_snapshot(tags: Tags, repository_id: str, snapshot_id: str) -> bool:
    """Whether it is a snapshot of a host in the scope, by its hostname."""
    names = Host.select(Host.hostname).where(Host.repository == repository_id, Host.id.in_(host_ids(tags)))
    return (
        Snapshot.select(Snapshot.id)
        .where(Snapshot.repository == repository_id, Snapshot.id == snapshot_id, Snapshot.hostname.in_(names))
        .exists()
    )


def has_alert(tags: Tags, alert_id: str) -> bool:
    """Whether it is about a host of the scope."""
    return Alert.select(Alert.id).where(Alert.id == alert_id, Alert.host.in_(host_ids(tags))).exists()


@dataclass(frozen=True)
class IncidentPart:
    """What the alerts of an incident say that are about hosts of the scope; `newest` is the last one of them."""

    newest: Alert
    severity: str
    alert_count: int
    open_count: int


def parts_of_incidents(tags: Tags, ids: Collection[str]) -> dict[str, IncidentPart]:
    """The part of each of these incidents that is in the scope; one of which nothing is has none."""
    own = (Alert.incident.in_(list(ids)), Alert.host.in_(host_ids(tags)))
    query = (
        Alert.select(
            Alert.incident, fn.MAX(Alert.id), fn.COUNT(Alert.id),
            fn.SUM(Case(Alert.state, (("resolved", 0),), 1)), fn.SUM(Case(Alert.severity, (("critical", 1),), 0)),
        )
        .where(*own)
        .group_by(Alert.incident)
    )  # fmt: skip
    rows = list(query.tuples())
    newest = {alert.id: alert for alert in Alert.select().where(Alert.id.in_([row[1] for row in rows]))}
    return {
        incident_id: IncidentPart(newest[last_id], "critical" if grave else "warning", count, still_open)
        for incident_id, last_id, count, still_open, grave in rows
    }


def has_incident(tags: Tags, incident_id: str) -> bool:
    """Whether an alert in it is about a host of the scope."""
    return Alert.select(Alert.id).where(Alert.incident == incident_id, Alert.host.in_(host_ids(tags))).exists()


def owns_incident(tags: Tags, incident_id: str) -> bool:
    """Whether all alerts in it are about hosts of the scope."""
    is_foreign = Alert.host.is_null() | Alert.host.not_in(host_ids(tags))
    others = Alert.select(Alert.id).where(Alert.incident == incident_id, is_foreign)
    return has_incident(tags, incident_id) and not others.exists()


def repository_of(host_id: str) -> str | None:
    """The repository that a host uses."""
    found = Host.select(Host.repository).where(Host.id == host_id).tuples().first()
    return found[0] if found else None
