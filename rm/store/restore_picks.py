"""Named queries about what people have picked in snapshots."""

from peewee import fn

from rm.store.models import RestorePick


def list_for(user_id: str, repository_id: str, snapshot_id: str) -> list[RestorePick]:
    """What a person has picked in a snapshot, by path."""
    query = RestorePick.select().where(
        RestorePick.user == user_id, RestorePick.repository == repository_id, RestorePick.snapshot_id == snapshot_id
    )
    return list(query.order_by(RestorePick.path))


def snapshots_of(user_id: str) -> list[tuple[str, str]]:
    """(repository, snapshot) in which a person has picked something, the last one first."""
    query = (
        RestorePick.select(RestorePick.repository, RestorePick.snapshot_id)
        .where(RestorePick.user == user_id)
        .group_by(RestorePick.repository, RestorePick.snapshot_id)
        .order_by(fn.MAX(RestorePick.picked_at).desc())
    )
    return list(query.tuples())
