"""Named queries about hosts."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from peewee import fn

from rm.errors import NotFound
from rm.store import quick_rows
from rm.store.database import db
from rm.store.host_rows import HostRow, rows
from rm.store.models import Host, HostCredential, HostTag
from rm.store.quick_rows import AMONG, load


def find(host_id: str) -> Host | None:
    return quick_rows.by_id(Host, host_id)


def list_by_ids(host_ids: Iterable[str]) -> list[Host]:
    """Those of these hosts that are there, in no particular order."""
    return load(Host, f"id {AMONG}", quick_rows.ids(host_ids))


def get(host_id: str) -> Host:
    """The host; raises NotFound."""
    host = find(host_id)
    if host is None:
        raise NotFound("There is no such host.", help="It may have been removed. The fleet page lists all hosts.")
    return host


def get_reporter(host_id: str) -> Host:
    """The host with no more than name, repository, enrolment and whether it was revoked; raises NotFound.

    Quick to read.
    """
    columns = (Host.id, Host.name, Host.repository, Host.enrolled_at, Host.revoked_at)
    host = Host.select(*columns).where(Host.id == host_id).first()
    if host is None:
        raise NotFound("There is no such host.", help="It may have been removed. The fleet page lists all hosts.")
    return host


def wanted_versions(host_id: str) -> tuple[int, int]:
    """Which configuration and which schedules a host is to have; raises NotFound. Quick to read."""
    found = db.execute_sql("SELECT config_version, schedule_version FROM hosts WHERE id = ?", (host_id,)).fetchone()
    if found is None:
        raise NotFound("There is no such host.", help="It may have been removed. The fleet page lists all hosts.")
    return found


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


def is_good_credential(credential_hash: str) -> bool:
    """Whether find_by_credential would find a host. Quick to read: each hello asks twice."""
    query = (
        "SELECT 1 FROM host_credentials c JOIN hosts h ON h.id = c.host_id"
        " WHERE c.credential_hash = ? AND c.revoked_at IS NULL AND h.revoked_at IS NULL"
    )
    return db.execute_sql(query, (credential_hash,)).fetchone() is not None


def row(host_id: str, *, now: datetime) -> HostRow:
    """One host as a list shows it; raises NotFound."""
    return rows([get(host_id)], now=now)[0]


def rows_of(host_ids: Sequence[str], *, now: datetime, with_history: bool = True) -> list[HostRow]:
    """Rows for the hosts with these ids in their order; those that are gone are left out."""
    found = {host.id: host for host in list_by_ids(host_ids)} if host_ids else {}
    return rows(
        [found[host_id] for host_id in host_ids if host_id in found], now=now, with_history=with_history
    )  # fmt: skip


def list_tags() -> list[tuple[str, int]]:
    """Every tag with the number of its hosts, the most used first."""
    query = HostTag.select(HostTag.tag, fn.COUNT(HostTag.host).alias("n")).group_by(HostTag.tag)
    return [(found.tag, found.n) for found in query.order_by(fn.COUNT(HostTag.host).desc(), HostTag.tag).limit(50)]


def tags_of(host_id: str) -> list[str]:
    return [found.tag for found in HostTag.select().where(HostTag.host == host_id).order_by(HostTag.tag)]


def list_for_repository(repository_id: str) -> list[Host]:
    return list(Host.select().where(Host.repository == repository_id).order_by(Host.name))


def users_of(repository_ids: Sequence[str]) -> dict[str, list[Host]]:
    """The hosts that use each of these repositories, by name; with no more than id, name and repository."""
    found: dict[str, list[Host]] = {}
    query = Host.select(Host.id, Host.name, Host.repository).where(Host.repository.in_(repository_ids))
    for host in query.order_by(Host.name):
        found.setdefault(host.repository_id, []).append(host)
    return found


def find_like(machine_id: str, *, but: str) -> Host | None:
    """Another host with the same machine id, to be shown as "looks like"; never an identity."""
    if not machine_id:
        return None
    return Host.select().where(Host.machine_id == machine_id, Host.id != but, Host.revoked_at.is_null()).first()
