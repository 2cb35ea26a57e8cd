"""Hosts for programs: listing, looking, revoking, removing."""

from typing import Any

from flask import Blueprint, request

from rm.api import documents
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import credentials
from rm.services import hosts as service
from rm.store import hosts

routes = Blueprint("api_hosts", __name__, url_prefix="/api/v1/hosts")

MAX_PAGE = 200


@routes.get("")
@allows("fleet.view")
def index() -> dict[str, Any]:
    """One page of hosts, problems first; `next` is the offset to go on with, or null."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    rows, total = hosts.list_page(
        now=runtime().clock(),
        q=request.args.get("q", "")[:200],
        tag=request.args.get("tag", "")[:50],
        status=request.args.get("status", ""),
        limit=limit,
        offset=offset,
    )
    after = offset + len(rows)
    return {"items": [documents.host(row) for row in rows], "next": after if after < total else None, "total": total}


@routes.get("/<host_id>")
@allows("fleet.view")
def show(host_id: str) -> dict[str, Any]:
    return documents.host(hosts.row(host_id, now=runtime().clock()))


@routes.delete("/<host_id>")
@allows("hosts.remove")
def remove(host_id: str) -> tuple[str, int]:
    """Forget a host; whoever calls the API has typed its id."""
    parts = runtime()
    service.remove(
        parts.bus, host_id=host_id, typed_name=hosts.get(host_id).name, actor=documents.actor(), now=parts.clock()
    )
    return "", 204


@routes.post("/<host_id>/revoke")
@allows("hosts.revoke")
def revoke(host_id: str) -> dict[str, Any]:
    parts = runtime()
    service.revoke_credential(parts.bus, host_id=host_id, actor=documents.actor(), now=parts.clock())
    return documents.host(hosts.row(host_id, now=parts.clock()))


@routes.post("/<host_id>/renew-credential")
@allows("hosts.renew")
def renew_credential(host_id: str) -> tuple[dict[str, Any], int]:
    """Hand the host a new credential over its connection; again: the one that is on its way."""
    parts = runtime()
    renewal = credentials.renew(parts.bus, parts.vault, host_id=host_id, actor=documents.actor(), now=parts.clock())
    return {"host_id": host_id, "ordered_at": documents.instant(renewal.created_at)}, 202
