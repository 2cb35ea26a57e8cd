"""Settings → Fleet update: plan it, start it, watch it, and decide when it halts."""

from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, NotFound
from rm.runtime import runtime
from rm.services import fleet_updates as service
from rm.store import fleet_updates, hosts, update_pages
from rm.store.models import FleetUpdate
from rm.web import (
    context,
    fleet_plan_view,
    fleet_update_form,
    fleet_update_questions,
    fleet_update_view,
    settings_tabs,
)
from rm.web.fleet_update_reading import Query
from rm.web.layout import go, page
from rm.web.questions import Question
from rm.web.security import redirect_to

blueprint = Blueprint("fleet_updates", __name__)

PATH = "/settings/fleet-update"


def asked_for(fleet_update_id: str) -> Query:
    """The list of hosts that the query string asks for; what makes no sense is left out."""
    group = request.args.get("show", "")
    return Query(
        fleet_update_id=fleet_update_id,
        group=group if group in update_pages.GROUPS else "",
        q=request.args.get("q", "").strip()[:200],
        page=context.page_number(),
    )


@blueprint.get("/settings")
@allows("fleet.view")
def settings() -> AnyResponse:
    """The first page of the settings that whoever asks may see."""
    return redirect_to(settings_tabs.visible()[0][2])


@blueprint.get(PATH)
@allows("fleet.view")
def index() -> Response:
    """What a fleet update with the chosen options would do, and those of the past."""
    return _index(fleet_update_form.read(request.args))


@blueprint.post(PATH)
@allows("fleet_updates.manage")
def plan() -> AnyResponse:
    """Keep the plan, to be looked at once more and started."""
    form = fleet_update_form.read(request.form)
    if form.fields:
        return _index(form, status=422)
    try:
        made = service.plan(
            runtime().bus, options=form.options.as_json(), actor=context.actor(), now=context.now()
        )  # fmt: skip
    except Invalid as error:
        return _index(form.with_errors(error.fields), status=422)
    return redirect_to(f"{PATH}/{made.id}")


@blueprint.get(f"{PATH}/<fleet_update_id>")
@allows("fleet.view")
def show(fleet_update_id: str) -> Response:
    """A plan before its start, or a fleet update as it goes and as it went."""
    found = fleet_updates.get(fleet_update_id)
    if found.state == "planned":
        return _planned(found)
    query = asked_for(fleet_update_id)
    values = fleet_update_view.values(_app(), query, role=_role(), now=context.now())
    live_url = query.url(f"/live/fleet-updates/{fleet_update_id}")
    return page("fleet_updates/show.html", section="settings", live_url=live_url, is_live_inside=True, **values)


@blueprint.get(f"{PATH}/<fleet_update_id>/events")
@allows("fleet.view")
def list_events(fleet_update_id: str) -> Response:
    """All that happened, newest first."""
    return page(
        "fleet_updates/events.html", section="settings",
        **fleet_update_view.event_values(fleet_updates.get(fleet_update_id), page=context.page_number()),
    )  # fmt: skip


@blueprint.post(f"{PATH}/<fleet_update_id>/start")
@allows("fleet_updates.manage")
def start(fleet_update_id: str) -> AnyResponse:
    """Begin; when the fleet changed since the plan was made, the page says how and asks once more."""
    accepts = request.form.get("accepts") == fleet_plan_view.changes_mark(fleet_update_id, now=context.now())
    try:
        service.start(
            runtime().bus, fleet_update_id=fleet_update_id, actor=context.actor(), now=context.now(),
            accepts_changes=accepts,
        )  # fmt: skip
    except Conflict as error:
        if error.code != "plan_changed":
            raise
        return _planned(fleet_updates.get(fleet_update_id), status=409)
    return go(f"{PATH}/{fleet_update_id}", "fleet_started")


@blueprint.post(f"{PATH}/<fleet_update_id>/pause")
@allows("fleet_updates.manage")
def pause(fleet_update_id: str) -> AnyResponse:
    """Start nothing new."""
    service.pause(**_order(fleet_update_id))
    return go(f"{PATH}/{fleet_update_id}", "fleet_paused")


@blueprint.get(f"{PATH}/<fleet_update_id>/<what>")
@allows("fleet_updates.manage")
def ask(fleet_update_id: str, what: str) -> Response:
    """The question before it, for browsers without dialogs."""
    return _ask(fleet_update_id, what)


@blueprint.post(f"{PATH}/<fleet_update_id>/resume")
@allows("fleet_updates.manage")
def resume(fleet_update_id: str) -> AnyResponse:
    """Go on."""
    service.resume(**_order(fleet_update_id))
    return go(f"{PATH}/{fleet_update_id}", "fleet_resumed")


@blueprint.post(f"{PATH}/<fleet_update_id>/cancel")
@allows("fleet_updates.manage")
def cancel(fleet_update_id: str) -> AnyResponse:
    """End it, after the current hosts or at once."""
    service.cancel(**_order(fleet_update_id), mode=request.form.get("mode", "soft"))
    return go(f"{PATH}/{fleet_update_id}", "fleet_cancelled")


@blueprint.post(f"{PATH}/<fleet_update_id>/close")
@allows("fleet_updates.manage")
def close(fleet_update_id: str) -> AnyResponse:
    """End a run that only waits for hosts that are offline."""
    service.close(**_order(fleet_update_id))
    return go(f"{PATH}/{fleet_update_id}", "fleet_closed")


@blueprint.post(f"{PATH}/<fleet_update_id>/retry-failed")
@allows("fleet_updates.manage")
def retry_failed(fleet_update_id: str) -> AnyResponse:
    """Have what failed tried again."""
    service.retry_failed(**_order(fleet_update_id))
    return go(f"{PATH}/{fleet_update_id}", "fleet_retried")


@blueprint.post(f"{PATH}/<fleet_update_id>/skip")
@allows("fleet_updates.manage")
def skip(fleet_update_id: str) -> AnyResponse:
    """Leave hosts out and go on."""
    named = [request.form["host"]] if request.form.get("host") else []
    try:
        service.skip(**_order(fleet_update_id), host_ids=named)
    except Invalid as error:
        return _ask(fleet_update_id, "skip", error.fields, status=422)
    return go(f"{PATH}/{fleet_update_id}", "fleet_skipped")


@blueprint.post(f"{PATH}/<fleet_update_id>/rollback")
@allows("fleet_updates.manage")
def roll_back(fleet_update_id: str) -> AnyResponse:
    """Have the updated hosts go back, once their number was typed."""
    question = _question(fleet_update_id, "rollback")
    if request.form.get("typed_name", "").strip() != question.typed:
        return _ask(fleet_update_id, "rollback", {"typed_name": f"Type {question.typed} to confirm."}, status=422)
    try:
        service.roll_back(**_order(fleet_update_id))
    except Invalid as error:
        return _ask(fleet_update_id, "rollback", error.fields, status=422)
    return go(f"{PATH}/{fleet_update_id}", "fleet_rolling_back")


def _order(fleet_update_id: str) -> dict[str, Any]:
    return {
        "bus": runtime().bus, "fleet_update_id": fleet_update_id, "actor": context.actor(), "now": context.now(),
        "reason": request.form.get("reason", ""),
    }  # fmt: skip


def _index(form: fleet_update_form.Form, *, status: int = 200) -> Response:
    values = fleet_plan_view.preview_values(
        form, now=context.now(), page=context.page_number(), may_manage=context.may("fleet_updates.manage")
    )
    return page("fleet_updates/plan.html", status=status, section="settings", **values)


def _planned(found: FleetUpdate, *, status: int = 200) -> Response:
    values = fleet_plan_view.planned_values(found, now=context.now(), page=context.page_number())
    return page("fleet_updates/planned.html", status=status, section="settings", **values)


def _question(fleet_update_id: str, what: str) -> Question:
    found = fleet_updates.get(fleet_update_id)
    counts, fleet = fleet_updates.counts(found.id), fleet_updates.load(found, now=context.now())
    if what == "cancel":
        return fleet_update_questions.cancel(found, counts, fleet, mode=request.args.get("mode", "soft"))
    if what == "skip":
        named = request.values.get("host", "")
        return fleet_update_questions.skip(found, counts, host=hosts.get(named) if named else None)
    asked = {
        "resume": fleet_update_questions.resume, "retry-failed": fleet_update_questions.retry,
        "rollback": fleet_update_questions.roll_back, "close": fleet_update_questions.close,
    }.get(what)  # fmt: skip
    if asked is None:
        raise NotFound("There is no such page.", help="The fleet update's own page has every action.")
    return asked(found, counts)


def _ask(fleet_update_id: str, what: str, fields: dict[str, str] | None = None, *, status: int = 200) -> Response:
    return _question(fleet_update_id, what).asked_as_page(
        section="settings", back=f"{PATH}/{fleet_update_id}", fields=fields or {}, values=request.form, status=status
    )


def _role() -> str:
    user = context.user()
    return user.role if user else ""


def _app() -> Any:
    return current_app._get_current_object()  # type: ignore[attr-defined]
