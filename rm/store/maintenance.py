"""Named queries about how repositories are kept in order, and how they grew."""

from collections.abc import Sequence
from datetime import datetime

from peewee import SQL, fn

from rm.errors import NotFound
from rm.store.models import (
    Alert,
    AlertWait,
    GroupVerdict,
    Host,
    Job,
    MaintenancePolicy,
    Repository,
    RepositoryDay,
    SourceGroup,
)

_GOOD = ("succeeded", "warnings")


def list_policies(repository_id: str) -> list[MaintenancePolicy]:
    """The policies of a repository; which kinds there are is rm.domain.maintenance's to say."""
    return list(MaintenancePolicy.select().where(MaintenancePolicy.repository == repository_id))


def find(repository_id: str, kind: str) -> MaintenancePolicy | None:
    return MaintenancePolicy.get_or_none(
        MaintenancePolicy.repository == repository_id, MaintenancePolicy.kind == kind
    )  # fmt: skip


def get(repository_id: str, kind: str) -> MaintenancePolicy:
    """The policy of this kind; raises NotFound."""
    found = find(repository_id, kind)
    if found is None:
        raise NotFound("This repository has no such maintenance.")
    return found


def list_without_policies(*, limit: int) -> list[str]:
    """The repositories for which nothing was decided yet."""
    known = MaintenancePolicy.select(MaintenancePolicy.repository)
    return [row.id for row in Repository.select(Repository.id).where(Repository.id.not_in(known)).limit(limit)]


def list_to_look_at(now: datetime, among: Sequence[str]) -> list[str]:
    """Which of these repositories may have something due and a host connected, or have an exclusive job open.

    In the order of `among`.
    """
    every = MaintenancePolicy.every_hours / 24.0
    counted_from = fn.COALESCE(MaintenancePolicy.last_started_at, MaintenancePolicy.changed_at)
    # A run in a window may start up to a window's length before it is due.
    early = fn.IIF(MaintenancePolicy.window_from == "", 0.0, 1.0)
    is_due = fn.julianday(counted_from) + every - early <= fn.julianday(_text(now))
    ended_badly = MaintenancePolicy.last_ended_at.is_null(False) & MaintenancePolicy.last_outcome.not_in(_GOOD)
    has_host = MaintenancePolicy.repository.in_(
        Host.select(Host.repository).where(Host.connected_at.is_null(False), Host.repository.in_(among))
    )
    by_cadence = (
        MaintenancePolicy.select(MaintenancePolicy.repository)
        .where(MaintenancePolicy.is_enabled, MaintenancePolicy.kind != "forget", has_host, is_due | ended_badly)
        .tuples()
    )
    last = fn.COALESCE(SourceGroup.forgotten_at, SourceGroup.changed_at)
    by_group = (
        SourceGroup.select(Host.repository)
        .join(Host)
        .join(MaintenancePolicy, on=(MaintenancePolicy.repository == Host.repository))
        .where(
            MaintenancePolicy.kind == "forget",
            MaintenancePolicy.is_enabled,
            has_host,
            SourceGroup.retention.cast("TEXT") != "{}",
            fn.julianday(last) + every - early <= fn.julianday(_text(now)),
        )
        .distinct()
        .tuples()
    )
    with_jobs = (
        Job.select(Job.repository)
        .where(Job.state != "finished", Job.kind.in_(("forget", "prune", "check")), Job.repository.in_(among))
        .tuples()
    )
    found = {row[0] for query in (by_cadence, by_group, with_jobs) for row in query}
    return [one for one in among if one in found]


def list_with_conflicts() -> list[str]:
    """The repositories where an exclusive job is open, and beside it a backup or a restore."""
    other = Job.alias()
    sharing = other.select(SQL("1")).where(
        other.repository == Job.repository, other.state != "finished", other.kind.in_(("backup", "restore"))
    )  # fmt: skip
    query = Job.select(Job.repository).where(
        Job.state != "finished", Job.kind.in_(("forget", "prune", "check")), Job.repository.is_null(False),
        fn.EXISTS(sharing),
    )  # fmt: skip
    return sorted({row[0] for row in query.tuples()})


def list_fired_behind(job: Job) -> list[tuple[str, datetime]]:
    """The groups of the job's host of which its agent says that a scheduled backup waits for this job, and since when.

    Such an agent names the job for which the run waits; what it said of a job before this one does not count.
    """
    query = GroupVerdict.select(GroupVerdict.group, GroupVerdict.reported, GroupVerdict.reported_at).where(
        GroupVerdict.host == job.host_id, GroupVerdict.reported_at.is_null(False)
    )
    return [
        (row.group_id, row.reported_at)
        for row in query
        if row.reported.get("code") == "waiting" and f"(job {job.id})" in str(row.reported.get("why"))
    ]


def list_users(repository_id: str) -> list[Host]:
    """The hosts that may use a repository, with no more of them than choosing one takes."""
    query = Host.select(
        Host.id, Host.name, Host.mode, Host.features, Host.connected_at, Host.last_seen_at, Host.restic_version
    ).where(Host.repository == repository_id, Host.revoked_at.is_null())
    return list(query)


def list_groups_with_retention(repository_id: str) -> list[SourceGroup]:
    """The source groups, with their hosts, whose snapshots in this repository are to be thinned out."""
    columns = (
        SourceGroup.id, SourceGroup.host, SourceGroup.name, SourceGroup.retention, SourceGroup.changed_at,
        SourceGroup.forgotten_at, SourceGroup.retention_hold, Host.id, Host.name, Host.hostname,
    )  # fmt: skip
    query = SourceGroup.select(*columns).join(Host).where(
        Host.repository == repository_id, SourceGroup.retention.cast("TEXT") != "{}"
    )  # fmt: skip
    return list(query.order_by(SourceGroup.forgotten_at, SourceGroup.id))


def list_contested(repository_id: str, *, hostname: str = "") -> dict[str, list[str]]:
    """Groups by id whose snapshots cannot be told from another host's, with the names of those hosts.

    All of the repository, or those of hosts with this hostname.

    Restic knows snapshots by hostname and tag alone. A revoked host puts no other's in doubt, only its own.
    """
    here = (Host.repository == repository_id) & (Host.hostname == hostname if hostname else Host.hostname != "")
    shared = Host.select(Host.hostname).where(here).group_by(Host.hostname).having(fn.COUNT(SQL("*")) > 1)
    columns = (
        SourceGroup.id, SourceGroup.host, SourceGroup.name, SourceGroup.tags, Host.id, Host.name, Host.hostname,
        Host.revoked_at,
    )  # fmt: skip
    query = SourceGroup.select(*columns).join(Host).where(here, Host.hostname.in_(shared)).order_by(Host.name)
    marked: dict[tuple[str, str], list[SourceGroup]] = {}
    groups = list(query)
    for group in groups:
        for tag in {group.name, *group.tags}:
            marked.setdefault((group.host.hostname, tag), []).append(group)
    found: dict[str, list[str]] = {}
    for group in groups:
        others = [other.host for other in marked[group.host.hostname, group.name] if other.host_id != group.host_id]
        if group.host.revoked_at is None:
            others = [host for host in others if host.revoked_at is None]
        if others:
            found[group.id] = list(dict.fromkeys(host.name for host in others))
    return found


def list_open_forgets(group_id: str) -> list[Job]:
    """The jobs that have not ended and thin out this group's snapshots."""
    query = Job.select().where(Job.state != "finished", Job.kind == "forget")
    return [job for job in query if job.parameters.get("group_id") == group_id]


def open_alerts(kind: str, conditions: list[str]) -> dict[str, Alert | AlertWait]:
    """What is open of this kind about these conditions, or waits until it is told, by condition."""
    found: dict[str, Alert | AlertWait] = {}
    for start in range(0, len(conditions), 500):
        some = conditions[start : start + 500]
        waiting = AlertWait.select().where(AlertWait.kind == kind, AlertWait.condition.in_(some))
        query = Alert.select().where(Alert.kind == kind, Alert.condition.in_(some), Alert.state != "resolved")
        found |= {one.condition: one for one in (*waiting, *query)}
    return found


def open_counts(repository_id: str) -> dict[str, int]:
    """How many jobs each host that uses the repository has open."""
    users = Host.select(Host.id).where(Host.repository == repository_id)
    query = (
        Job.select(Job.host, fn.COUNT(SQL("*")))
        .where(Job.state != "finished", Job.host.in_(users))
        .group_by(Job.host)
        .tuples()
    )
    return dict(query)


def list_days(repository_id: str, *, since: str) -> list[RepositoryDay]:
    """What was measured since that day (2026-11-23), oldest first."""
    query = RepositoryDay.select().where(RepositoryDay.repository == repository_id, RepositoryDay.day >= since)
    return list(query.order_by(RepositoryDay.day))


def _text(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S")
