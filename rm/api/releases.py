"""Releases for programs."""

from typing import Any

from flask import Blueprint, request

from rm.api import documents
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import releases as service
from rm.store import releases

routes = Blueprint("api_releases", __name__, url_prefix="/api/v1/releases")


@routes.get("")
@allows("fleet.view")
def index() -> dict[str, Any]:
    """All that were imported, the highest sequence first."""
    return {"items": [documents.release(found) for found in releases.list_all()], "next": None}


@routes.post("/<release_id>/promote")
@allows("releases.promote")
def promote(release_id: str) -> dict[str, Any]:
    """Make it current; an older one than before needs {"force": true, "reason": …}."""
    body = documents.body() if request.content_length else {}
    parts = runtime()
    found = service.promote(
        parts.bus, release_id=release_id, actor=documents.actor(), now=parts.clock(),
        force=body.get("force") is True, reason=documents.text(body, "reason", ""),
    )  # fmt: skip
    return documents.release(found)
