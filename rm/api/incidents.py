"""Incidents for programs: alerts of one cause, what happened to them, and what people say to them."""

from datetime import datetime
from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import OFFSET, TEXT, one_of, page_of, ref, text, whole
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import incidents as service
from rm.shared import instants
from rm.store import incidents
from rm.store.incidents import Wanted
from rm.store.models import AlertEvent, Incident

routes = Blueprint("api_incidents", __name__, url_prefix="/api/v1/incidents")

MAX_PAGE = 200
PAGING = {"limit": whole(1, MAX_PAGE), "offset": OFFSET}


@routes.get("")
@allows("fleet.view")
@operation(
    {200: page_of("Incident")},
    query={
        "state": one_of("", *incidents.STATES), "severity": one_of("", "warning", "critical"), "kind": TEXT,
        "host_id": TEXT, "tag": text(50), "q": text(200), **PAGING,
    },
)  # fmt: skip
def index() -> dict[str, Any]:
    """One page of incidents: what needs somebody first; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    asked = {name: request.args.get(name, "") for name in ("state", "severity", "kind", "host_id", "tag", "q")}
    found = incidents.list_page(Wanted(**asked), now=runtime().clock(), limit=limit + 1, offset=offset)
    return _page([_document(one) for one in found], limit, offset)


@routes.get("/<incident_id>")
@allows("fleet.view")
@operation({200: ref("Incident")})
def show(incident_id: str) -> dict[str, Any]:
    """One incident."""
    return _document(incidents.get(incident_id))


@routes.get("/<incident_id>/alerts")
@allows("fleet.view")
@operation({200: page_of("Alert")}, query=PAGING)
def list_alerts(incident_id: str) -> dict[str, Any]:
    """One page of its alerts; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    found = incidents.list_alerts(incidents.get(incident_id).id, limit=limit + 1, offset=offset)
    return _page([documents.alert(one) for one in found], limit, offset)


@routes.get("/<incident_id>/events")
@allows("fleet.view")
@operation({200: page_of("IncidentEvent")}, query=PAGING)
def events(incident_id: str) -> dict[str, Any]:
    """One page of its timeline, the newest first; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    found = incidents.list_events(incidents.get(incident_id).id, limit=limit + 1, offset=offset)
    return _page([_event(one) for one in found], limit, offset)


@routes.post("/<incident_id>/acknowledge")
@allows("alerts.handle")
@operation({200: ref("Incident")})
def acknowledge(incident_id: str) -> dict[str, Any]:
    """Say that somebody looks after it, and after each of its alerts."""
    parts = runtime()
    return _document(
        service.acknowledge(parts.bus, incident_id=incident_id, actor=caller.actor(), now=parts.clock())
    )  # fmt: skip


@routes.post("/<incident_id>/resolve")
@allows("alerts.handle")
@operation({200: ref("Incident")})
def resolve(incident_id: str) -> dict[str, Any]:
    """Say that it is over, with all its alerts."""
    parts = runtime()
    return _document(service.resolve(parts.bus, incident_id=incident_id, actor=caller.actor(), now=parts.clock()))


@routes.post("/<incident_id>/snooze")
@allows("alerts.handle")
@operation({200: ref("Incident")}, body=ref("Snooze"))
def snooze(incident_id: str) -> dict[str, Any]:
    """Let it ask for nobody until then; it ends by itself, and at once if it gets worse."""
    parts = runtime()
    choice, chosen = snooze_asked_for()
    found = service.snooze(
        parts.bus, incident_id=incident_id, choice=choice, chosen=chosen, actor=caller.actor(), now=parts.clock()
    )
    return _document(found)


@routes.post("/<incident_id>/wake")
@allows("alerts.handle")
@operation({200: ref("Incident")})
def wake(incident_id: str) -> dict[str, Any]:
    """End a snooze before its time."""
    parts = runtime()
    return _document(service.wake(parts.bus, incident_id=incident_id, actor=caller.actor(), now=parts.clock()))


def snooze_asked_for() -> tuple[str, datetime | None]:
    """The body's choice of a span, and its instant; raises Invalid."""
    body = documents.body()
    until = documents.text(body, "until", "")
    try:
        return documents.text(body, "for", ""), instants.from_text(until) if until else None
    except ValueError as error:
        raise Invalid({"until": "Write an instant such as 2026-11-23T12:00:00Z."}) from error


def _paging() -> tuple[int, int]:
    return documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)


def _page(items: list[dict[str, Any]], limit: int, offset: int) -> dict[str, Any]:
    return {"items": items[:limit], "next": offset + limit if len(items) > limit else None}


def _document(found: Incident) -> dict[str, Any]:
    return {
        "id": found.id,
        "title": found.title,
        "message": found.message,
        "kind": found.kind,
        "severity": found.severity,
        "state": found.state,
        "host_id": found.host_id,
        "repository_id": found.repository_id,
        "alert_count": found.alert_count,
        "open_count": found.open_count,
        "opened_at": documents.instant(found.opened_at),
        "last_seen_at": documents.instant(found.last_seen_at),
        "acknowledged_at": documents.instant(found.acknowledged_at),
        "acknowledged_by": found.acknowledged_by or None,
        "snoozed_until": documents.instant(found.snoozed_until),
        "snoozed_by": found.snoozed_by or None,
        "resolved_at": documents.instant(found.resolved_at),
        "resolved_by": found.resolved_by or None,
        "note": found.note,
    }


def _event(found: AlertEvent) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": documents.instant(found.at),
        "kind": found.kind,
        "alert_id": found.alert_id,
        "actor": found.actor or None,
        "text": found.text,
    }
