"""/healthz: whether this server can do its work, and if not, why."""

from flask import Blueprint, current_app

from rm.domain.permissions import PUBLIC, allows
from rm.runtime import runtime
from rm.store import database
from rm.store.models import Setting

routes = Blueprint("health", __name__)


@routes.get("/healthz")
@allows(PUBLIC)
def healthz() -> tuple[dict[str, object], int]:
    """200 when database, writer and scheduler are well, else 503; the body says which is not."""
    parts = runtime()
    trouble = {
        "database": _database_trouble(),
        "writer": parts.writer.trouble(),
        "scheduler": current_app.extensions["rm_scheduler"].trouble(),
        "process": "the server is stopping" if parts.is_stopping else None,
    }
    is_well = not any(trouble.values())
    checks = {name: problem or "ok" for name, problem in trouble.items()}
    return {"status": "ok" if is_well else "failing", "checks": checks}, 200 if is_well else 503


def _database_trouble() -> str | None:
    try:
        Setting.select().limit(1).execute()
    except database.DatabaseError:
        return "the database cannot be read"
    return None
