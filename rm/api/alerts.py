"""Alerts for programs."""

from typing import Any

from flask import Blueprint, request

from rm.api import documents
from rm.domain.alerts import STATES
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import alerts as service
from rm.store import alerts

routes = Blueprint("api_alerts", __name__, url_prefix="/api/v1/alerts")

MAX_PAGE = 200


@routes.get("")
@allows("fleet.view")
def index() -> dict[str, Any]:
    """One page of alerts, open ones first; `state` keeps one state, or `open`; `next` is the offset to go on with."""
    state = request.args.get("state", "")
    if state not in ("", "open", *STATES):
        raise Invalid({"state": f"must be open, {', '.join(STATES)}"}, f"state must be open, {', '.join(STATES)}.")
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = alerts.list_page(state=state, limit=limit + 1, offset=offset)
    return {
        "items": [documents.alert(one) for one in found[:limit]],
        "next": offset + limit if len(found) > limit else None,
    }


@routes.post("/<alert_id>/acknowledge")
@allows("alerts.handle")
def acknowledge(alert_id: str) -> dict[str, Any]:
    parts = runtime()
    found = service.acknowledge(parts.bus, alert_id=alert_id, actor=documents.actor(), now=parts.clock())
    return documents.alert(found)


@routes.post("/<alert_id>/resolve")
@allows("alerts.handle")
def resolve(alert_id: str) -> dict[str, Any]:
    parts = runtime()
    return documents.alert(service.resolve(parts.bus, alert_id=alert_id, actor=documents.actor(), now=parts.clock()))
