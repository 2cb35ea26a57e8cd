"""Releases for programs."""

from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import OPEN, operation
from rm.api.shapes import page_of, ref
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import releases as service
from rm.store import releases

routes = Blueprint("api_releases", __name__, url_prefix="/api/v1/releases")


@routes.get("")
@allows("fleet.view")
@operation({200: page_of("Release")}, scope=OPEN)
def index() -> dict[str, Any]:
    """All that were imported, the highest sequence first."""
    return {"items": [documents.release(found) for found in releases.list_all()], "next": None}


@routes.get("/<release_id>")
@allows("fleet.view")
@operation({200: ref("Release")}, scope=OPEN)
def show(release_id: str) -> dict[str, Any]:
    """One release."""
    return documents.release(releases.get(release_id))


@routes.post("/<release_id>/promote")
@allows("releases.promote")
@operation({200: ref("Release")}, body=ref("Promotion"), may_be_empty=True)
def promote(release_id: str) -> dict[str, Any]:
    """Make it current; an older one than before needs {"force": true, "reason": …}."""
    body = documents.body_or_nothing()
    parts = runtime()
    found = service.promote(
        parts.bus, release_id=release_id, actor=caller.actor(), now=parts.clock(),
        force=body.get("force") is True, reason=documents.text(body, "reason", ""),
    )  # fmt: skip
    return documents.release(found)
