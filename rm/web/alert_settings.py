"""How patient the server is: the page of the alert rules."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.alerts import KINDS
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import alert_settings as service
from rm.services.alert_settings import RulesForm
from rm.store import hosts
from rm.web import context
from rm.web.layout import go, page

blueprint = Blueprint("alert_settings", __name__)

BLANK_ROWS = 3
MOST_ROWS = 60


@blueprint.get("/settings/alerts")
@allows("settings.view")
def show() -> Response:
    """Every kind with its patience, and the exceptions by tag."""
    return _page(service.form_of(service.rules()))


@blueprint.post("/settings/alerts")
@allows("settings.edit")
def save() -> AnyResponse:
    """Keep what was typed."""
    form = _typed()
    try:
        service.save(runtime().bus, form=form, actor=context.actor(), now=context.now())
    except Invalid as error:
        return _page(form, fields=error.fields, status=422)
    return go("/settings/alerts", "alert_rules_saved")


def _typed() -> RulesForm:
    def text(name: str) -> str:
        return request.form.get(name, "").strip()[:100]

    rows = [
        (text(f"tag_{number}"), text(f"tag_kind_{number}"), text(f"tag_patience_{number}"))
        for number in range(MOST_ROWS)
        if f"tag_{number}" in request.form
    ]
    return RulesForm(
        patience={kind: text(f"patience_{kind}") for kind in KINDS},
        hold={kind: text(f"hold_{kind}") for kind in KINDS},
        by_tag=rows,
    )


def _page(form: RulesForm, *, fields: dict[str, str] | None = None, status: int = 200) -> Response:
    filled = [row for row in form.by_tag if any(row[::2])] if not fields else form.by_tag
    rows = [*filled, *([("", "agent_offline", "")] * BLANK_ROWS)][:MOST_ROWS]
    return page(
        "settings/alerts.html", status=status, section="settings", kinds=KINDS, form=form, rows=rows,
        fields=fields or {}, kind_choices=[(kind, known.title) for kind, known in KINDS.items()],
        tags=[tag for tag, _ in hosts.list_tags()],
    )  # fmt: skip
