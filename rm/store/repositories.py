"""Named queries about repositories."""

from peewee import fn

from rm.errors import NotFound
from rm.store.models import Host, Repository, RepositoryCredential

EVERYDAY = "everyday"
MAINTENANCE = "maintenance"


def find(repository_id: str | None) -> Repository | None:
    return Repository.get_or_none(Repository.id == repository_id) if repository_id else None


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


def list_hosts_without() -> list[Host]:
    """The hosts that have none yet and may still be given one."""
    query = Host.select().where(Host.repository.is_null(), Host.revoked_at.is_null())
    return list(query.order_by(Host.name, Host.id).limit(500))


def credential(repository_id: str, slot: str = EVERYDAY) -> RepositoryCredential | None:
    """What the backend is asked for in this slot, still sealed."""
    return RepositoryCredential.get_or_none(
        RepositoryCredential.repository == repository_id, RepositoryCredential.slot == slot
    )


def has_maintenance(repository_id: str) -> bool:
    """Whether a credential is kept that may delete."""
    return credential(repository_id, MAINTENANCE) is not None


def totals() -> dict[str, int | None]:
    """How many repositories there are, and their bytes (None: nobody knows yet) and snapshots as last reported."""
    count, size, snapshots = Repository.select(
        fn.COUNT(Repository.id), fn.SUM(Repository.total_bytes), fn.COALESCE(fn.SUM(Repository.snapshot_count), 0)
    ).tuples().get()  # fmt: skip
    return {"repositories": count, "bytes": size, "snapshots": snapshots}
