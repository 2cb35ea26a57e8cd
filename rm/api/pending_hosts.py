"""Announced hosts for programs: who waits, and the decision."""

from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import OPEN, operation
from rm.api.shapes import OFFSET, page_of, ref, whole
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import pending_hosts as service
from rm.store import pending_hosts
from rm.store.models import PendingHost

routes = Blueprint("api_pending_hosts", __name__, url_prefix="/api/v1/pending-hosts")
switch_routes = Blueprint("api_announcing", __name__, url_prefix="/api/v1/announcing")

MAX_PAGE = 200


@routes.get("")
@allows("fleet.view")
@operation({200: page_of("PendingHost")}, query={"limit": whole(1, MAX_PAGE), "offset": OFFSET})
def index() -> dict[str, Any]:
    """One page of announced hosts, those that wait first; `next` is the offset to go on with."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = pending_hosts.list_page(now=runtime().clock(), limit=limit + 1, offset=offset)
    return {"items": [_shown(one) for one in found[:limit]], "next": offset + limit if len(found) > limit else None}


@routes.get("/<pending_id>")
@allows("fleet.view")
@operation({200: ref("PendingHost")})
def show(pending_id: str) -> dict[str, Any]:
    """One announced host."""
    return _shown(pending_hosts.get(pending_id))


@routes.post("/<pending_id>/approve")
@allows("hosts.approve")
@operation({200: ref("PendingHost")})
def approve(pending_id: str) -> dict[str, Any]:
    """Let it in; whoever calls has compared the fingerprint."""
    parts = runtime()
    return _shown(service.approve(parts.bus, pending_id=pending_id, actor=caller.actor(), now=parts.clock()))


@routes.post("/<pending_id>/reject")
@allows("hosts.approve")
@operation({200: ref("PendingHost")})
def reject(pending_id: str) -> dict[str, Any]:
    """Keep it out."""
    parts = runtime()
    return _shown(service.reject(parts.bus, pending_id=pending_id, actor=caller.actor(), now=parts.clock()))


def _shown(found: PendingHost) -> dict[str, Any]:
    now = runtime().clock()
    state = pending_hosts.state(found, now=now)
    return documents.pending_host(found, pending_hosts.resemblance(found, now=now), state=state)


@switch_routes.get("")
@allows("fleet.view")
@operation({200: ref("Announcing")}, scope=OPEN)
def announcing() -> dict[str, Any]:
    """Whether hosts may announce themselves."""
    return {"is_enabled": pending_hosts.is_announcing_enabled()}


@switch_routes.put("")
@allows("hosts.approve")
@operation({200: ref("Announcing")}, body=ref("Announcing"))
def set_announcing() -> dict[str, Any]:
    """Let hosts announce themselves, or not; those that wait already may still be decided."""
    parts = runtime()
    is_enabled = documents.flag(documents.body(), "is_enabled", True)
    service.set_announcing(parts.bus, is_enabled=is_enabled, actor=caller.actor(), now=parts.clock())
    return {"is_enabled": pending_hosts.is_announcing_enabled()}
