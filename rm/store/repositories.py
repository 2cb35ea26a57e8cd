"""Named queries about repositories."""

from collections.abc import Sequence

from peewee import fn

from rm.errors import NotFound
from rm.store import quick_rows, token_scope
from rm.store.models import Host, Repository, RepositoryCredential

EVERYDAY = "everyday"
MAINTENANCE = "maintenance"


def find(repository_id: str | None) -> Repository | None:
    return quick_rows.by_id(Repository, repository_id) if repository_id else None


def get(repository_id: str) -> Repository:
    """The repository; raises NotFound."""
    repository = find(repository_id)
    if repository is None:
        raise NotFound("There is no such repository.")
    return repository


def find_by_name(name: str) -> Repository | None:
    return Repository.get_or_none(Repository.name.collate("NOCASE") == name)


def list_all() -> list[Repository]:
    return list(Repository.select().order_by(Repository.name))


def list_ids() -> list[str]:
    """The ids of all, sorted."""
    return [row[0] for row in Repository.select(Repository.id).order_by(Repository.id).tuples()]


def count() -> int:
    """How many there are."""
    return int(Repository.select().count())


def list_page(*, limit: int, offset: int = 0, scope: Sequence[str] = ()) -> list[Repository]:
    """One page of repositories by name; with a `scope` those that hosts with one of these tags use."""
    query = Repository.select()
    if scope:
        query = query.where(Repository.id.in_(token_scope.repository_ids(scope)))
    return list(query.order_by(Repository.name, Repository.id).limit(limit).offset(offset))


def host_ids_of(repository_ids: Sequence[str], *, scope: Sequence[str] = ()) -> dict[str, list[str]]:
    """The ids of the hosts that use each of these repositories, by the hosts' names; with a `scope` only its own."""
    query = Host.select(Host.id, Host.repository).where(Host.repository.in_(list(repository_ids)))
    if scope:
        query = query.where(Host.id.in_(token_scope.host_ids(scope)))
    found: dict[str, list[str]] = {one: [] for one in repository_ids}
    for host_id, repository_id in query.order_by(Host.name, Host.id).tuples():
        found[repository_id].append(host_id)
    return found


def with_maintenance(repository_ids: Sequence[str]) -> set[str]:
    """Those of these repositories for which a credential is kept that may delete."""
    query = RepositoryCredential.select(RepositoryCredential.repository).where(
        RepositoryCredential.repository.in_(list(repository_ids)), RepositoryCredential.slot == MAINTENANCE
    )
    return {found for (found,) in query.tuples()}


def list_hosts_without() -> list[Host]:
    """The hosts that have none yet and may still be given one."""
    query = Host.select().where(Host.repository.is_null(), Host.revoked_at.is_null())
    return list(query.order_by(Host.name, Host.id).limit(500))


def credential(repository_id: str, slot: str = EVERYDAY) -> RepositoryCredential | None:
    """What the backend is asked for in this slot, still sealed."""
    return quick_rows.first(RepositoryCredential, "repository_id = ? AND slot = ?", repository_id, slot)


def has_maintenance(repository_id: str) -> bool:
    """Whether a credential is kept that may delete."""
    return credential(repository_id, MAINTENANCE) is not None


def totals() -> dict[str, int | None]:
    """How many repositories there are, and their bytes (None: nobody knows yet) and snapshots as last reported."""
    count, size, snapshots = Repository.select(
        fn.COUNT(Repository.id), fn.SUM(Repository.total_bytes), fn.COALESCE(fn.SUM(Repository.snapshot_count), 0)
    ).tuples().get()  # fmt: skip
    return {"repositories": count, "bytes": size, "snapshots": snapshots}
