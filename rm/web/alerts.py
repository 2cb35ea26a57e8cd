"""The pages of incidents, and what people say to one or to one of its alerts."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid, NotFound
from rm.runtime import runtime
from rm.services import alerts as service
from rm.services import incidents as incident_service
from rm.store import alerts
from rm.web import alert_query, alert_view, channel_view, context
from rm.web.layout import go, page

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/alerts")
@allows("fleet.view")
def index() -> Response:
    """Open incidents, or those of another tab."""
    query = alert_query.asked_for(request.args)
    values = alert_view.values(role=_role(), now=context.now(), query=query)
    return page("alerts/list.html", section="alerts", live_url=query.url("/live/alerts"), **values)


@blueprint.get("/alerts/<incident_id>")
@allows("fleet.view")
def show(incident_id: str) -> Response:
    """One incident: what it is, what to do, its alerts and what happened."""
    return _show(incident_id)


@blueprint.post("/alerts/<incident_id>/acknowledge")
@blueprint.post("/alerts/<incident_id>/alerts/<alert_id>/acknowledge")
@allows("alerts.handle")
def acknowledge(incident_id: str, alert_id: str = "") -> AnyResponse:
    """I know of it."""
    _say(incident_id, alert_id, service.acknowledge, incident_service.acknowledge)
    return go(_then(incident_id), "alert_acknowledged")


@blueprint.post("/alerts/<incident_id>/resolve")
@blueprint.post("/alerts/<incident_id>/alerts/<alert_id>/resolve")
@allows("alerts.handle")
def resolve(incident_id: str, alert_id: str = "") -> AnyResponse:
    """It is over."""
    _say(incident_id, alert_id, service.resolve, incident_service.resolve)
    return go(_then(incident_id), "alert_resolved")


@blueprint.post("/alerts/<incident_id>/snooze")
@blueprint.post("/alerts/<incident_id>/alerts/<alert_id>/snooze")
@allows("alerts.handle")
def snooze(incident_id: str, alert_id: str = "") -> AnyResponse:
    """Not now."""
    choice, typed = request.form.get("for", ""), request.form.get("until", "")
    try:
        _say(
            incident_id, alert_id, service.snooze, incident_service.snooze, choice=choice, chosen=_instant(typed)
        )  # fmt: skip
    except Invalid as error:
        return _show(incident_id, until=typed[:40], wrong=error.fields.get("until", ""), status=422)
    return go(_then(incident_id), "alert_snoozed")


@blueprint.post("/alerts/<incident_id>/wake")
@blueprint.post("/alerts/<incident_id>/alerts/<alert_id>/wake")
@allows("alerts.handle")
def wake(incident_id: str, alert_id: str = "") -> AnyResponse:
    """Now after all."""
    _say(incident_id, alert_id, service.wake, incident_service.wake)
    return go(_then(incident_id), "alert_woken")


def _say(
    incident_id: str, alert_id: str, to_alert: Callable[..., Any], to_incident: Callable[..., Any], **said: Any
) -> None:
    """Say it to one alert of the incident, or, where none is named, to the whole; raises what those do."""
    said |= {"actor": context.actor(), "now": context.now()}
    if alert_id:
        to_alert(runtime().bus, alert_id=_member(incident_id, alert_id), **said)
    else:
        to_incident(runtime().bus, incident_id=incident_id, **said)


def _show(incident_id: str, *, until: str = "", wrong: str = "", status: int = 200) -> Response:
    at, events = context.page_number(), _number("events")
    manages = context.may("channels.manage")
    values = alert_view.incident_values(incident_id, role=_role(), now=context.now(), page=at, events=events)
    return page(
        "alerts/show.html", status=status, section="alerts", until=until, until_wrong=wrong,
        live_url=f"/live/alerts/{incident_id}?page={at}&events={events}",
        told=channel_view.incident_log(incident_id, may_manage=manages) if context.may("alerts.handle") else None,
        manages_channels=manages, **values,
    )  # fmt: skip


def _member(incident_id: str, alert_id: str) -> str:
    """The alert's id, if it is one of this incident's; raises NotFound."""
    if alerts.get(alert_id).incident_id != incident_id:
        raise NotFound("This incident has no such alert.")
    return alert_id


def _then(incident_id: str) -> str:
    """Where the form was, so that its reader goes on there."""
    if request.form.get("then") == "incident":
        return f"/alerts/{incident_id}"
    return alert_query.asked_for_in(request.form.get("shown", "")).url()


def _instant(text: str) -> datetime | None:
    """The time of a datetime-local field, which its label says is UTC; None for anything else."""
    try:
        return datetime.strptime(text.strip()[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _number(name: str) -> int:
    text = request.args.get(name, "1")
    return max(1, int(text)) if text.isdecimal() and len(text) < 5 else 1


def _role() -> str:
    user = context.user()
    return user.role if user else ""
