"""Named queries about hosts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from peewee import Case, Expression, fn

from rm.domain import health
from rm.errors import NotFound
from rm.store.models import BackupDay, Host, HostCredential, HostTag, Job, Repository, SourceGroup


@dataclass(frozen=True)
class HostRow:
    """One host as a list shows it; `strip` has one code per day: o w f n, and d for today without a run yet."""

    host: Host
    tags: list[str]
    latest_backup: Job | None
    running_job: Job | None
    repository: Repository | None
    has_sources: bool
    strip: list[str]
    health: health.HostHealth
    is_online: bool

    @property
    def last_good_at(self) -> datetime | None:
        return self.host.last_good_at


def find(host_id: str) -> Host | None:
    return Host.get_or_none(Host.id == host_id)


def list_by_ids(host_ids: Iterable[str]) -> list[Host]:
    """Those of these hosts that are there, in no particular order."""
    return list(Host.select().where(Host.id.in_(list(host_ids))))


def get(host_id: str) -> Host:
    """The host; raises NotFound."""
    host = find(host_id)
    if host is None:
        raise NotFound("There is no such host.", help="It may have been removed. The fleet page lists all hosts.")
    return host


def find_by_credential(credential_hash: str) -> tuple[Host, HostCredential] | None:
    """The host that a credential belongs to, unless the credential or the host was revoked."""
    found = (
        HostCredential.select(HostCredential, Host)
        .join(Host)
        .where(
            HostCredential.credential_hash == credential_hash,
            HostCredential.revoked_at.is_null(),
            Host.revoked_at.is_null(),
        )
        .first()
    )
    return (found.host, found) if found else None


def protected(now: datetime) -> Expression:
    """The condition that a host is protected at this moment."""
    return Host.revoked_at.is_null() & (Host.last_good_at >= now - health.PROTECTED_FOR)


def online(now: datetime) -> Expression:
    """The condition that a host is online at this moment."""
    return Host.connected_at.is_null(False) & (Host.last_seen_at >= now - health.OFFLINE_AFTER)


def list_page(
    *, now: datetime, q: str = "", tag: str = "", status: str = "", limit: int = 50, offset: int = 0
) -> tuple[list[HostRow], int]:
    """One page of hosts, problems first, and how many match in all; `status` is problems, online or offline."""
    query = Host.select()
    if q:
        tagged = HostTag.select(HostTag.host_id).where(HostTag.tag.contains(q))
        query = query.where(
            Host.name.contains(q)
            | Host.hostname.contains(q)
            | Host.last_address.contains(q)
            | Host.agent_version.contains(q)
            | Host.os_name.contains(q)
            | Host.id.in_(tagged)
        )
    if tag:
        query = query.where(Host.id.in_(HostTag.select(HostTag.host_id).where(HostTag.tag == tag)))
    if status == "problems":
        query = query.where(~_true(protected(now)))
    elif status == "online":
        query = query.where(online(now))
    elif status == "offline":
        query = query.where(~_true(online(now)))
    total = query.count()
    page = query.order_by(_true(protected(now)), Host.name, Host.id).limit(limit).offset(offset)
    return rows(list(page), now=now), total


def row(host_id: str, *, now: datetime) -> HostRow:
    """One host as a list shows it; raises NotFound."""
    return rows([get(host_id)], now=now)[0]


def rows(hosts: list[Host], *, now: datetime) -> list[HostRow]:
    """Rows for these hosts in their order, with a fixed number of queries."""
    ids = [host.id for host in hosts]
    tags = _grouped(HostTag.select().where(HostTag.host.in_(ids)).order_by(HostTag.tag), "tag")
    open_jobs = _running_jobs(ids)
    latest = {
        job.id: job for job in Job.select().where(Job.id.in_([h.last_backup_id for h in hosts if h.last_backup_id]))
    }
    repositories = {
        found.id: found
        for found in Repository.select().where(Repository.id.in_({h.repository_id for h in hosts if h.repository_id}))
    }
    with_sources = {
        found.host_id for found in SourceGroup.select(SourceGroup.host).where(SourceGroup.host.in_(ids)).distinct()
    }
    strips = _strips(ids, now=now)
    return [
        _row(
            host,
            tags=tags.get(host.id, []),
            latest=latest.get(host.last_backup_id or ""),
            running=open_jobs.get(host.id),
            repository=repositories.get(host.repository_id or ""),
            has_sources=host.id in with_sources,
            strip=strips[host.id],
            now=now,
        )
        for host in hosts
    ]


def _row(
    host: Host,
    *,
    tags: list[str],
    latest: Job | None,
    running: Job | None,
    repository: Repository | None,
    has_sources: bool,
    strip: list[str],
    now: datetime,
) -> HostRow:
    facts = health.HostFacts(
        name=host.name,
        mode=host.mode,
        is_connected=host.connected_at is not None,
        is_revoked=host.revoked_at is not None,
        has_said_hello=host.first_hello_at is not None,
        has_repository=repository is not None,
        has_sources=has_sources,
        last_seen_at=host.last_seen_at,
        last_good_at=host.last_good_at,
        last_backup_outcome=latest.outcome if latest else None,
        last_backup_message=latest.message if latest else "",
        running_kind=running.kind if running else None,
        problems=tuple(host.problems),
    )
    return HostRow(
        host=host,
        tags=tags,
        latest_backup=latest,
        running_job=running,
        repository=repository,
        has_sources=has_sources,
        strip=strip,
        health=health.host_health(facts, now),
        is_online=health.is_online(is_connected=facts.is_connected, last_seen_at=facts.last_seen_at, now=now),
    )


def counts(*, now: datetime) -> dict[str, int]:
    """How many hosts there are in all, protected, with problems and online."""
    one = Host.select(
        fn.COUNT(Host.id),
        fn.COALESCE(fn.SUM(_true(protected(now))), 0),
        fn.COALESCE(fn.SUM(_true(online(now))), 0),
    ).where(Host.revoked_at.is_null())
    total, safe, connected = one.tuples().get()
    return {
        "all": total,
        "protected": safe,
        "problems": total - safe,
        "online": connected,
        "offline": total - connected,
    }


def list_unprotected(*, now: datetime, limit: int = 3) -> list[str]:
    """The first names of hosts that are not protected, the longest without a good backup first."""
    query = (
        Host.select(Host.name)
        .where(Host.revoked_at.is_null() & ~_true(protected(now)))
        .order_by(Host.last_good_at, Host.name)
        .limit(limit)
    )
    return [host.name for host in query]


def list_tags() -> list[tuple[str, int]]:
    """Every tag with the number of its hosts, the most used first."""
    query = HostTag.select(HostTag.tag, fn.COUNT(HostTag.host).alias("n")).group_by(HostTag.tag)
    return [(found.tag, found.n) for found in query.order_by(fn.COUNT(HostTag.host).desc(), HostTag.tag).limit(50)]


def tags_of(host_id: str) -> list[str]:
    return [found.tag for found in HostTag.select().where(HostTag.host == host_id).order_by(HostTag.tag)]


def list_for_repository(repository_id: str) -> list[Host]:
    return list(Host.select().where(Host.repository == repository_id).order_by(Host.name))


def list_connected() -> list[Host]:
    """The hosts whose socket is open according to the database."""
    return list(Host.select().where(Host.connected_at.is_null(False)))


def find_like(machine_id: str, *, but: str) -> Host | None:
    """Another host with the same machine id, to be shown as "looks like"; never an identity."""
    if not machine_id:
        return None
    return Host.select().where(Host.machine_id == machine_id, Host.id != but, Host.revoked_at.is_null()).first()


def _true(condition: Expression) -> Case:
    # NULL compares as unknown; a host without any good backup must count as "no", not vanish.
    return Case(None, ((condition, 1),), 0)


def _running_jobs(ids: Iterable[str]) -> dict[str, Job]:
    query = Job.select().where(Job.host.in_(list(ids)), Job.state == "running").order_by(Job.id)
    return {job.host_id: job for job in query}


def _strips(ids: list[str], *, now: datetime) -> dict[str, list[str]]:
    days = [(now - timedelta(days=back)).strftime("%Y-%m-%d") for back in range(health.DAYS_SHOWN - 1, -1, -1)]
    found: dict[str, dict[str, str]] = {host_id: {} for host_id in ids}
    query = BackupDay.select(
        BackupDay.host, BackupDay.day, BackupDay.succeeded, BackupDay.warnings, BackupDay.failed
    ).where(BackupDay.host.in_(ids), BackupDay.day >= days[0])
    # tuples: thirty model objects a host took almost half of the page's time
    for host_id, day, succeeded, warnings, failed in query.tuples():
        found[host_id][day] = "f" if failed and not (succeeded or warnings) else "w" if warnings or failed else "o"
    return {host_id: [found[host_id].get(day, "n") for day in days] for host_id in ids}


def _grouped(query: Iterable[HostTag], attribute: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in query:
        found.setdefault(item.host_id, []).append(getattr(item, attribute))
    return found
