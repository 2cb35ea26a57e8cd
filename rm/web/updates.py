"""One host's agent: ordered to the current release, rolled back, and kept from being updated."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Forbidden, Invalid
from rm.runtime import runtime
from rm.services import updates as service
from rm.store import hosts
from rm.web import context, update_questions
from rm.web.layout import go
from rm.web.questions import Question

blueprint = Blueprint("updates", __name__)


@blueprint.get("/hosts/<host_id>/update")
@allows("updates.run")
def ask_update(host_id: str) -> Response:
    """The question before an update, for browsers without dialogs; with ?force=1 for one that is known as bad."""
    return _ask(host_id, _update_question(host_id, is_forced="force" in request.args))


@blueprint.post("/hosts/<host_id>/update")
@allows("updates.run")
def update(host_id: str) -> AnyResponse:
    """Order the update to the current release; pressed twice, it is one order."""
    force = "force" in request.form
    try:
        service.order(
            runtime().bus, host_id=host_id, actor=context.actor(), now=context.now(), force=force,
            reason=request.form.get("reason", ""),
        )  # fmt: skip
    except Invalid as error:
        return _ask(host_id, _update_question(host_id, is_forced=force), error.fields, status=422)
    return go(f"/hosts/{host_id}#update-card", "update_ordered")


@blueprint.get("/hosts/<host_id>/roll-back")
@allows("updates.run")
def ask_roll_back(host_id: str) -> Response:
    """The question before rolling back, for browsers without dialogs."""
    return _ask(host_id, update_questions.roll_back(hosts.get(host_id)))


@blueprint.post("/hosts/<host_id>/roll-back")
@allows("updates.run")
def roll_back(host_id: str) -> AnyResponse:
    """Order the host back to the agent that it ran before its last update."""
    reason = request.form.get("reason", "")
    try:
        service.order_rollback(
            runtime().bus, host_id=host_id, actor=context.actor(), now=context.now(), reason=reason
        )  # fmt: skip
    except Invalid as error:
        return _ask(host_id, update_questions.roll_back(hosts.get(host_id)), error.fields, status=422)
    return go(f"/hosts/{host_id}#update-card", "rollback_ordered")


@blueprint.get("/hosts/<host_id>/hold")
@allows("hosts.hold")
def ask_hold(host_id: str) -> Response:
    """The question before holding, for browsers without dialogs."""
    return _ask(host_id, update_questions.hold(hosts.get(host_id)), back="/settings")


@blueprint.post("/hosts/<host_id>/hold")
@allows("hosts.hold")
def hold(host_id: str) -> AnyResponse:
    """Keep the host from being updated."""
    reason = request.form.get("reason", "")
    try:
        service.hold(runtime().bus, host_id=host_id, reason=reason, actor=context.actor(), now=context.now())
    except Invalid as error:
        question = update_questions.hold(hosts.get(host_id))
        return _ask(host_id, question, error.fields, back="/settings", status=422)
    return go(f"/hosts/{host_id}/settings", "host_held")


@blueprint.post("/hosts/<host_id>/unhold")
@allows("hosts.hold")
def unhold(host_id: str) -> AnyResponse:
    """Let the host be updated again."""
    service.unhold(runtime().bus, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "host_released")


def _update_question(host_id: str, *, is_forced: bool) -> Question:
    if is_forced and not context.may("updates.force"):
        raise Forbidden("Only an administrator may force an update.")
    return update_questions.update(hosts.get(host_id), is_forced=is_forced)


def _ask(
    host_id: str, question: Question, fields: dict[str, str] | None = None, *, back: str = "", status: int = 200
) -> Response:  # fmt: skip
    return question.asked_as_page(
        section="fleet", back=f"/hosts/{host_id}{back}", fields=fields or {}, values=request.form, status=status
    )
