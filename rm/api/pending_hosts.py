"""Announced hosts for programs: who waits, and the decision."""

from typing import Any

from flask import Blueprint

from rm.api import documents
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import pending_hosts as service
from rm.store import pending_hosts
from rm.store.models import PendingHost

routes = Blueprint("api_pending_hosts", __name__, url_prefix="/api/v1/pending-hosts")

MAX_PAGE = 200


@routes.get("")
@allows("fleet.view")
def index() -> dict[str, Any]:
    """One page of announced hosts, those that wait first; `next` is the offset to go on with."""
    limit, offset = documents.number("limit", 100, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = pending_hosts.list_page(now=runtime().clock(), limit=limit + 1, offset=offset)
    return {"items": [_shown(one) for one in found[:limit]], "next": offset + limit if len(found) > limit else None}


@routes.get("/<pending_id>")
@allows("fleet.view")
def show(pending_id: str) -> dict[str, Any]:
    return _shown(pending_hosts.get(pending_id))


@routes.post("/<pending_id>/approve")
@allows("hosts.approve")
def approve(pending_id: str) -> dict[str, Any]:
    """Let it in; whoever calls has compared the fingerprint."""
    parts = runtime()
    return _shown(service.approve(parts.bus, pending_id=pending_id, actor=documents.actor(), now=parts.clock()))


@routes.post("/<pending_id>/reject")
@allows("hosts.approve")
def reject(pending_id: str) -> dict[str, Any]:
    parts = runtime()
    return _shown(service.reject(parts.bus, pending_id=pending_id, actor=documents.actor(), now=parts.clock()))


def _shown(found: PendingHost) -> dict[str, Any]:
    now = runtime().clock()
    state = pending_hosts.state(found, now=now)
    return documents.pending_host(found, pending_hosts.resemblance(found, now=now), state=state)
