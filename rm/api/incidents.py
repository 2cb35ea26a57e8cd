"""Incidents for programs: alerts of one cause, what happened to them, and what people say to them."""

from datetime import datetime
from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import BY_PATH, FILTERED, operation
from rm.api.shapes import OFFSET, TEXT, one_of, page_of, ref, text, whole
from rm.domain.alerts import KINDS
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import incidents as service
from rm.services import token_scope
from rm.shared import instants
from rm.store import incidents
from rm.store.incidents import Wanted
from rm.store.models import AlertEvent, Incident
from rm.store.token_scope import IncidentPart

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
    scope=FILTERED,
)  # fmt: skip
def index() -> dict[str, Any]:
    """One page of incidents: what needs somebody first; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    asked = {name: request.args.get(name, "") for name in ("state", "severity", "kind", "host_id", "tag", "q")}
    wanted = Wanted(**asked, scope=caller.scope())
    found = incidents.list_page(wanted, now=runtime().clock(), limit=limit + 1, offset=offset)
    return _page(_documents(found), limit, offset)


@routes.get("/<incident_id>")
@allows("fleet.view")
@operation({200: ref("Incident")}, scope=BY_PATH)
def show(incident_id: str) -> dict[str, Any]:
    """One incident."""
    return _document(incidents.get(incident_id))


@routes.get("/<incident_id>/alerts")
@allows("fleet.view")
@operation({200: page_of("Alert")}, query=PAGING, scope=BY_PATH)
def list_alerts(incident_id: str) -> dict[str, Any]:
    """One page of its alerts; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    found = incidents.list_alerts(incidents.get(incident_id).id, limit=limit + 1, offset=offset, scope=caller.scope())
    return _page([documents.alert(one) for one in found], limit, offset)


@routes.get("/<incident_id>/events")
@allows("fleet.view")
@operation({200: page_of("IncidentEvent")}, query=PAGING, scope=BY_PATH)
def events(incident_id: str) -> dict[str, Any]:
    """One page of its timeline, the newest first; `next` is the offset to go on with, or null."""
    limit, offset = _paging()
    found = incidents.list_events(incidents.get(incident_id).id, limit=limit + 1, offset=offset, scope=caller.scope())
    return _page([_event(one) for one in found], limit, offset)


@routes.post("/<incident_id>/acknowledge")
@allows("alerts.handle")
@operation({200: ref("Incident")}, scope=BY_PATH)
def acknowledge(incident_id: str) -> dict[str, Any]:
    """Say that somebody looks after it, and after each of its alerts."""
    parts = runtime()
    return _document(
        service.acknowledge(parts.bus, incident_id=incident_id, actor=caller.actor(), now=parts.clock())
    )  # fmt: skip


@routes.post("/<incident_id>/resolve")
@allows("alerts.handle")
@operation({200: ref("Incident")}, scope=BY_PATH)
def resolve(incident_id: str) -> dict[str, Any]:
    """Say that it is over, with all its alerts."""
    parts = runtime()
    return _document(service.resolve(parts.bus, incident_id=incident_id, actor=caller.actor(), now=parts.clock()))


@routes.post("/<incident_id>/snooze")
@allows("alerts.handle")
@operation({200: ref("Incident")}, body=ref("Snooze"), scope=BY_PATH)
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
@operation({200: ref("Incident")}, scope=BY_PATH)
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
    return _documents([found])[0]


def _documents(found: list[Incident]) -> list[dict[str, Any]]:
    """For a token with tags each as far as its hosts go, in words that name no other ones."""
    whole, tags = [_whole(one) for one in found], caller.scope()
    if not tags:
        return whole
    parts = token_scope.parts_of_incidents(tags, [one.id for one in found])
    return [one | _part(one, parts[one["id"]], tags) for one in whole if one["id"] in parts]


def _part(incident: dict[str, Any], part: IncidentPart, tags: tuple[str, ...]) -> dict[str, Any]:
    host_id, repository_id = incident["host_id"], incident["repository_id"]
    kind = KINDS.get(part.newest.kind)
    return {
        "title": kind.title if kind else part.newest.kind,
        "message": part.newest.message,
        "kind": part.newest.kind,
        "severity": part.severity,
        "host_id": host_id if host_id and token_scope.within(tags, [host_id]) else None,
        "repository_id": repository_id if repository_id and token_scope.sees_repository(tags, repository_id) else None,
        "alert_count": part.alert_count,
        "open_count": part.open_count,
        "note": "",
    }


def _whole(found: Incident) -> dict[str, Any]:
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
        # what concerns the whole of it may name hosts that a token is not for
        "text": found.text if found.alert_id or not caller.scope() else "",
    }
