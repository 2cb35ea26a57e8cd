"""Named queries about snapshots, as the last listing told them."""

from rm.store.models import Snapshot, SnapshotListing


def list_for_repository(repository_id: str, *, hostname: str | None = None, limit: int = 50) -> list[Snapshot]:
    """The newest snapshots first, of one host or of all."""
    query = Snapshot.select().where(Snapshot.repository == repository_id)
    if hostname is not None:
        query = query.where(Snapshot.hostname == hostname)
    return list(query.order_by(Snapshot.time.desc()).limit(limit))


def count_for_repository(repository_id: str, *, hostname: str | None = None) -> int:
    query = Snapshot.select().where(Snapshot.repository == repository_id)
    if hostname is not None:
        query = query.where(Snapshot.hostname == hostname)
    return query.count()


def listing(repository_id: str) -> SnapshotListing | None:
    """When the snapshots of a repository were listed last, and by which host."""
    return SnapshotListing.get_or_none(SnapshotListing.repository == repository_id)
