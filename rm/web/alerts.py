"""The page of alerts, and what people say to one."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import alerts as service
from rm.web import alert_view, context
from rm.web.layout import go, page

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/alerts")
@allows("fleet.view")
def index() -> Response:
    """Open alerts first, then those that are over."""
    user = context.user()
    at = page_asked_for(request.args.get("page", "1"))
    values = alert_view.values(role=user.role if user else "", now=context.now(), page=at)
    return page("alerts/list.html", section="alerts", live_url=f"/live/alerts?page={at}", **values)


@blueprint.post("/alerts/<alert_id>/acknowledge")
@allows("alerts.handle")
def acknowledge(alert_id: str) -> AnyResponse:
    """I know of it."""
    service.acknowledge(runtime().bus, alert_id=alert_id, actor=context.actor(), now=context.now())
    return go("/alerts", "alert_acknowledged")


@blueprint.post("/alerts/<alert_id>/resolve")
@allows("alerts.handle")
def resolve(alert_id: str) -> AnyResponse:
    """It is over."""
    service.resolve(runtime().bus, alert_id=alert_id, actor=context.actor(), now=context.now())
    return go("/alerts", "alert_resolved")


def page_asked_for(number: str) -> int:
    """The page's number; the first for what makes no sense."""
    return max(1, int(number)) if number.isdecimal() and len(number) < 5 else 1
