"""Backups of the server's own database for programs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import page_of, ref
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import server_backups as service
from rm.store import server_backups
from rm.store.models import ServerBackup

routes = Blueprint("api_server_backups", __name__, url_prefix="/api/v1/server-backups")


@routes.get("")
@allows("server.care")
@operation({200: page_of("ServerBackup")})
def index() -> dict[str, Any]:
    """Those that are kept, failed ones too, the newest first."""
    return {"items": [_document(one) for one in server_backups.list_kept()], "next": None}


@routes.post("")
@allows("server.care")
@operation({202: page_of("ServerBackup")}, waits=True)
def create() -> tuple[dict[str, Any], int]:
    """Begin a backup now; the list shows it, and how it ends."""
    parts = runtime()
    service.start(
        parts.bus, database_file=parts.settings.database_file, data_dir=parts.settings.data_dir,
        actor=caller.actor(), clock=parts.clock, offload=parts.offload,
    )  # fmt: skip
    return index(), 202


@routes.get("/plan")
@allows("server.care")
@operation({200: ref("BackupPlan")})
def plan() -> dict[str, Any]:
    """How often, how many are kept, where."""
    return asdict(service.plan())


@routes.put("/plan")
@allows("server.care")
@operation({200: ref("BackupPlan")}, body=ref("BackupPlanChange"))
def save_plan() -> dict[str, Any]:
    """Change the plan; what the body does not name stays as it is."""
    parts, body = runtime(), documents.body()
    given: dict[str, Any] = {name: documents.whole(body, name, 0) for name in ("every_hours", "keep") if name in body}
    if "directory" in body:
        given["directory"] = documents.text(body, "directory")
    service.save_plan(
        parts.bus, wanted=replace(service.plan(), **given), data_dir=parts.settings.data_dir, actor=caller.actor(),
        now=parts.clock(),
    )  # fmt: skip
    return plan()


def _document(found: ServerBackup) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": Path(found.file).name,
        "state": "running" if found.is_ok is None else "good" if found.is_ok else "failed",
        "started_at": documents.instant(found.started_at),
        "ended_at": documents.instant(found.ended_at),
        "size_bytes": found.size_bytes,
        "sha256": found.sha256 or None,
        "message": found.message,
        "requested_by": found.requested_by or None,
    }
