"""Hosts as a list shows them: each with its groups, jobs and days, by a fixed number of queries."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain import health
from rm.domain.group_standing import OpenRun, SchedulesOfHost, Standing, seen
from rm.store import quick_rows
from rm.store.database import among, db
from rm.store.models import BackupDay, Host, Job, Repository
from rm.store.quick_rows import AMONG, load
from rm.store.verdicts import GroupRow, list_groups


@dataclass(frozen=True)
class HostGroup:
    """A source group of a host: its verdict as kept, and as it stands at this moment."""

    kept: GroupRow
    now: Standing


@dataclass(frozen=True)
class HostRow:
    """One host as a list shows it; `strip` has one code per day: o w m f n, and d for today without a run yet."""

    host: Host
    tags: list[str]
    latest_backup: Job | None
    running_job: Job | None
    repository: Repository | None
    groups: list[HostGroup]
    strip: list[str]
    health: health.HostHealth
    is_online: bool

    @property
    def last_good_at(self) -> datetime | None:
        return self.host.last_good_at


def rows(hosts: list[Host], *, now: datetime, with_history: bool = True) -> list[HostRow]:
    """Rows for these hosts in their order, with a fixed number of queries; without history strip and latest are empty.

    Reading thirty days of each host is a good part of the time, and not everybody shows them.
    """
    ids = [host.id for host in hosts]
    tags = _tags(ids)
    open_jobs = _open_jobs(ids)
    latest = _latest_backups(hosts) if with_history else {}
    repository_ids = quick_rows.ids({host.repository_id for host in hosts})
    repositories = {found.id: found for found in load(Repository, f"id {AMONG}", repository_ids)}
    groups = list_groups(ids)
    strips = _strips(ids, now=now) if with_history else {}
    return [
        _row(
            host,
            tags=tags.get(host.id, []),
            latest=latest.get(host.last_backup_id or ""),
            open_jobs=open_jobs.get(host.id, []),
            repository=repositories.get(host.repository_id or ""),
            groups=groups.get(host.id, []),
            strip=strips.get(host.id, []),
            now=now,
        )
        for host in hosts
    ]


def _row(
    host: Host,
    *,
    tags: list[str],
    latest: Job | None,
    open_jobs: list[Job],
    repository: Repository | None,
    groups: list[GroupRow],
    strip: list[str],
    now: datetime,
) -> HostRow:
    is_connected = host.connected_at is not None
    is_online = health.is_online(is_connected=is_connected, last_seen_at=host.last_seen_at, now=now)
    running = next((job for job in reversed(open_jobs) if job.state == "running"), None)
    standing = [_standing(host, group, open_jobs, is_online=is_online, now=now) for group in groups]
    facts = health.HostFacts(
        is_connected=is_connected,
        is_revoked=host.revoked_at is not None,
        has_said_hello=host.first_hello_at is not None,
        has_repository=repository is not None,
        last_seen_at=host.last_seen_at,
        protected_until=host.protected_until,
        running_kind=running.kind if running else None,
        groups=tuple(
            health.GroupHealth(one.kept.name, one.now.code, one.now.text, one.kept.last_good_at) for one in standing
        ),
        problems=tuple(host.problems),
    )
    return HostRow(
        host=host,
        tags=tags,
        latest_backup=latest,
        running_job=running,
        repository=repository,
        groups=standing,
        strip=strip,
        health=health.host_health(facts, now),
        is_online=is_online,
    )


def _standing(host: Host, group: GroupRow, open_jobs: list[Job], *, is_online: bool, now: datetime) -> HostGroup:
    job = next((one for one in open_jobs if one.kind == "backup" and one.source_group == group.name), None)
    is_waiting = job is not None and job.state == "running" and job.progress.get("phase") == "waiting"
    open_run = job and OpenRun(
        is_running=job.state == "running",
        since=job.started_at or job.created_at,
        is_waiting=is_waiting,
        waits_for=job.progress.get("waits_for", "") if is_waiting else job.waits_for,
    )
    text = f"{group.text} {_remark(host)}".strip() if group.is_scheduled else group.text
    kept = Standing(group.code, text, group.since, group.next_at)
    shown = seen(
        kept, late_at=group.late_at, mode=group.mode, open_run=open_run, is_online=is_online,
        last_seen_at=host.last_seen_at, now=now,
    )  # fmt: skip
    return HostGroup(group, shown)


def _remark(host: Host) -> str:
    schedules = SchedulesOfHost(
        can_run=host.first_hello_at is None or "schedules" in host.features,
        has_repository=host.repository_id is not None,
        wanted=host.schedule_version,
        applied=host.schedule_applied,
        problem=host.schedule_problem,
    )
    return schedules.remark


def _latest_backups(hosts: list[Host]) -> dict[str, Job]:
    ids = quick_rows.ids(host.last_backup_id for host in hosts)
    return {job.id: job for job in load(Job, f"id {AMONG}", ids)}


def _open_jobs(ids: Iterable[str]) -> dict[str, list[Job]]:
    """The jobs of these hosts that are not over, the running ones first."""
    found: dict[str, list[Job]] = {}
    where = f"host_id {AMONG} AND state <> 'finished' ORDER BY state DESC, id"
    for job in load(Job, where, quick_rows.ids(ids)):
        found.setdefault(job.host_id, []).append(job)
    return found


def _strips(ids: list[str], *, now: datetime) -> dict[str, list[str]]:
    days = [(now - timedelta(days=back)).strftime("%Y-%m-%d") for back in range(health.DAYS_SHOWN - 1, -1, -1)]
    place = {day: index for index, day in enumerate(days)}
    found = {host_id: ["n"] * len(days) for host_id in ids}
    query = BackupDay.select(
        BackupDay.host, BackupDay.day, BackupDay.succeeded, BackupDay.warnings, BackupDay.failed, BackupDay.missed
    ).where(BackupDay.host.in_(among(ids)), BackupDay.day.between(days[0], days[-1]))
    # plain tuples from SQLite: thirty rows a host, which peewee's own took a third of the page's time to make
    for host_id, day, succeeded, warnings, failed, missed in db.execute(query):
        found[host_id][place[day]] = (
            "f" if failed and not (succeeded or warnings) else "m" if missed else "w" if warnings or failed
            else "o" if succeeded else "n"
        )  # fmt: skip
    return found


def _tags(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    query = "SELECT host_id, tag FROM host_tags WHERE host_id IN (SELECT value FROM json_each(?)) ORDER BY tag"
    for host_id, tag in db.execute_sql(query, (quick_rows.ids(ids),)):
        found.setdefault(host_id, []).append(tag)
    return found
