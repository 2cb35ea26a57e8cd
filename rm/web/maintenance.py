"""How a repository is kept in order: the form of each kind, and doing it at once."""

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain import maintenance as rules
from rm.domain.permissions import allows
from rm.errors import Invalid, NotFound
from rm.runtime import runtime
from rm.services import maintenance as service
from rm.services import maintenance_policies
from rm.services.maintenance_policies import DEFAULTS, PolicyForm
from rm.store import maintenance, repositories
from rm.web import context, maintenance_view
from rm.web.layout import go, page
from rm.web.security import redirect_to

blueprint = Blueprint("maintenance", __name__)


@blueprint.get("/repositories/<repository_id>/maintenance-plan")
@allows("maintenance.edit")
def edit(repository_id: str) -> Response:
    """The forms of all kinds, one below the other."""
    return _page(repository_id)


@blueprint.post("/repositories/<repository_id>/maintenance-plan/<kind>")
@allows("maintenance.edit")
def save(repository_id: str, kind: str) -> AnyResponse:
    """Change one kind."""
    _known(kind)
    try:
        service_form = _typed(kind)
        maintenance_policies.save(
            runtime().bus, repository_id=repository_id, kind=kind, form=service_form, actor=context.actor(),
            now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        typed = dict(request.form) | {"is_enabled": "is_enabled" in request.form}
        return _page(repository_id, kind=kind, typed=typed, fields=error.fields, status=422)
    return go(f"/repositories/{repository_id}", "maintenance_saved")


@blueprint.post("/repositories/<repository_id>/maintenance-plan/<kind>/run")
@allows("jobs.run")
def run(repository_id: str, kind: str) -> AnyResponse:
    """Order one kind at once and go to its job, or back where there are several."""
    _known(kind)
    made = service.run_now(
        runtime().bus, repository_id=repository_id, kind=kind, actor=context.actor(), now=context.now()
    )
    if len(made) == 1:
        return redirect_to(f"/jobs/{made[0].id}")
    return go(f"/repositories/{repository_id}", "maintenance_ordered")


def _known(kind: str) -> None:
    if kind not in rules.KINDS:
        raise NotFound("There is no such maintenance.")


def _typed(kind: str) -> PolicyForm:
    form, wrong = request.form, {}

    def number(name: str) -> int:
        text = form.get(name, "").strip()
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return int(text)
        wrong[name] = "Write a whole number."
        return 0

    typed = PolicyForm(
        is_enabled="is_enabled" in form,
        every_hours=number("every_hours"),
        window_from=form.get("window_from", "").strip(),
        window_to=form.get("window_to", "").strip(),
        timezone=form.get("timezone", "UTC").strip(),
        box_minutes=number("box_minutes"),
        parts=number("parts") if kind == "check" else 0,
    )
    if wrong:
        raise Invalid(wrong)
    return typed


def _page(
    repository_id: str, *, kind: str = "", typed: dict[str, Any] | None = None, fields: dict[str, str] | None = None,
    status: int = 200,
) -> Response:  # fmt: skip
    found = repositories.get(repository_id)
    rows = {row.kind: row for row in maintenance_view.rows(repository_id, now=context.now())}
    forms = [
        {
            "kind": one,
            "row": rows[one],
            "values": typed if one == kind and typed is not None else _values(repository_id, one),
            "fields": fields or {} if one == kind else {},
        }
        for one in rules.KINDS
        if one in rows
    ]
    return page(
        "repositories/maintenance_plan.html", status=status, section="repositories", repository=found, forms=forms
    )


def _values(repository_id: str, kind: str) -> dict[str, Any]:
    policy = maintenance.find(repository_id, kind)
    return maintenance_view.form_values(policy) if policy is not None else vars(DEFAULTS[kind])
