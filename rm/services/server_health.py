"""Whether this server can do its work; /healthz and the outgoing sign of life judge alike."""

from rm.store import database
from rm.store.models import Setting


def troubles(*, writer: str | None, scheduler: str | None, is_stopping: bool) -> dict[str, str | None]:
    """What is wrong with each part, None where nothing is. Needs an open connection."""
    return {
        "database": _database_trouble(),
        "writer": writer,
        "scheduler": scheduler,
        "process": "the server is stopping" if is_stopping else None,
    }


def _database_trouble() -> str | None:
    try:
        Setting.select().limit(1).execute()
    except database.DatabaseError:
        return "the database cannot be read"
    return None
