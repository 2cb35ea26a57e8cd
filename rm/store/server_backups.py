"""Named queries about the copies of this database."""

from rm.errors import NotFound
from rm.store.models import ServerBackup


def get(backup_id: str) -> ServerBackup:
    """The backup; raises NotFound."""
    found = ServerBackup.get_or_none(ServerBackup.id == backup_id)
    if found is None:
        raise NotFound(
            "There is no such server backup.", help="It may have been removed. Settings → Server lists them."
        )
    return found


def list_kept(*, limit: int = 500) -> list[ServerBackup]:
    """Those that were not removed, failed ones too, the newest first."""
    query = ServerBackup.select().where(ServerBackup.removed_at.is_null())
    return list(query.order_by(ServerBackup.started_at.desc(), ServerBackup.id.desc()).limit(limit))


def find_running() -> ServerBackup | None:
    return ServerBackup.get_or_none(ServerBackup.is_ok.is_null(), ServerBackup.ended_at.is_null())


def last_good() -> ServerBackup | None:
    query = ServerBackup.select().where(ServerBackup.is_ok, ServerBackup.removed_at.is_null())
    return query.order_by(ServerBackup.started_at.desc()).first()
