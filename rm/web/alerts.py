"""The page of alerts, and what people say to one."""

from flask import Blueprint, Response
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
    at = context.page_number()
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
