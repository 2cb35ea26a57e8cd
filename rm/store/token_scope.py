"""Whether a thing is in the scope of a token: what belongs to hosts that have one of its tags."""

from collections.abc import Collection, Sequence

from peewee import ModelSelect

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


def repository_of(host_id: str) -> str | None:
    """The repository that a host uses."""
    found = Host.select(Host.repository).where(Host.id == host_id).tuples().first()
    return found[0] if found else None
