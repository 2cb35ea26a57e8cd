"""Alerts for programs."""

from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.incidents import snooze_asked_for
from rm.api.operations import BY_PATH, FILTERED, operation
from rm.api.shapes import OFFSET, one_of, page_of, ref, whole
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
@operation(
    {200: page_of("Alert")},
    query={"state": one_of("", "open", *STATES), "limit": whole(1, MAX_PAGE), "offset": OFFSET},
    scope=FILTERED,
)
def index() -> dict[str, Any]:
    """One page of alerts, open ones first; `state` keeps one state, or `open`; `next` is the offset to go on with."""
    state = request.args.get("state", "")
    if state not in ("", "open", *STATES):
        raise Invalid({"state": f"must be open, {', '.join(STATES)}"}, f"state must be open, {', '.join(STATES)}.")
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = alerts.list_page(state=state, limit=limit + 1, offset=offset, scope=caller.scope())
    return {
        "items": [documents.alert(one) for one in found[:limit]],
        "next": offset + limit if len(found) > limit else None,
    }


@routes.get("/<alert_id>")
@allows("fleet.view")
@operation({200: ref("Alert")}, scope=BY_PATH)
def show(alert_id: str) -> dict[str, Any]:
    """One alert."""
    return documents.alert(alerts.get(alert_id))


@routes.post("/<alert_id>/acknowledge")
@allows("alerts.handle")
@operation({200: ref("Alert")}, scope=BY_PATH)
def acknowledge(alert_id: str) -> dict[str, Any]:
    """Say that somebody knows of it; it stays open."""
    parts = runtime()
    found = service.acknowledge(parts.bus, alert_id=alert_id, actor=caller.actor(), now=parts.clock())
    return documents.alert(found)


@routes.post("/<alert_id>/resolve")
@allows("alerts.handle")
@operation({200: ref("Alert")}, scope=BY_PATH)
def resolve(alert_id: str) -> dict[str, Any]:
    """Say that it is over."""
    parts = runtime()
    return documents.alert(service.resolve(parts.bus, alert_id=alert_id, actor=caller.actor(), now=parts.clock()))


@routes.post("/<alert_id>/snooze")
@allows("alerts.handle")
@operation({200: ref("Alert")}, body=ref("Snooze"), scope=BY_PATH)
def snooze(alert_id: str) -> dict[str, Any]:
    """Let this one alert ask for nobody until then."""
    parts = runtime()
    choice, chosen = snooze_asked_for()
    found = service.snooze(
        parts.bus, alert_id=alert_id, choice=choice, chosen=chosen, actor=caller.actor(), now=parts.clock()
    )
    return documents.alert(found)


@routes.post("/<alert_id>/wake")
@allows("alerts.handle")
@operation({200: ref("Alert")}, scope=BY_PATH)
def wake(alert_id: str) -> dict[str, Any]:
    """End a snooze before its time."""
    parts = runtime()
    return documents.alert(service.wake(parts.bus, alert_id=alert_id, actor=caller.actor(), now=parts.clock()))
