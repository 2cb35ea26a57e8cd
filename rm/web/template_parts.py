"""The groups and schedules of a template, each in a form of its own, counted from 0."""

from dataclasses import replace
from typing import TypeVar

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, NotFound
from rm.runtime import runtime
from rm.services import template_forms
from rm.services import templates as service
from rm.services.source_group_forms import SourceGroupForm
from rm.services.template_forms import TemplateForm
from rm.store import templates
from rm.store.models import Template
from rm.web import context, retention_form, schedule_fields, source_group_fields
from rm.web.layout import go, page
from rm.web.retention_preview import retention_of
from rm.web.security import redirect_to
from rm.web.source_group_fields import Hooks

blueprint = Blueprint("template_parts", __name__)

Part = TypeVar("Part")

HOOKS = Hooks(may_edit=True)


@blueprint.get("/templates/new/preview")
@allows("templates.edit")
def preview() -> AnyResponse:
    """What a retention keeps, in words; a fragment of the forms with a group."""
    if request.headers.get("HX-Request-Type") != "partial":
        return redirect_to("/templates/new")
    retention = retention_of(retention_form.resolved(request.args)) or {}
    return page("source_groups/_words.html", words=retention_form.words(retention))


@blueprint.get("/templates/<template_id>/groups/new")
@allows("templates.edit")
def new_group(template_id: str) -> Response:
    """An empty group."""
    texts = source_group_fields.texts_of(SourceGroupForm(retention=retention_form.SUGGESTED.retention))
    return _group_page(template_id, None, texts, {})


@blueprint.get("/templates/<template_id>/groups/<int:number>")
@allows("templates.edit")
def edit_group(template_id: str, number: int) -> Response:
    """The form, filled with the group."""
    form = _of(template_forms.form_of(templates.get(template_id)).groups, number)
    return _group_page(template_id, number, source_group_fields.texts_of(form), {})


@blueprint.post("/templates/<template_id>/groups/new")
@allows("templates.edit")
def add_group(template_id: str) -> AnyResponse:
    """One more group."""
    return _save_group(template_id, None)


@blueprint.post("/templates/<template_id>/groups/<int:number>")
@allows("templates.edit")
def save_group(template_id: str, number: int) -> AnyResponse:
    """A changed group; schedules follow its name."""
    return _save_group(template_id, number)


@blueprint.post("/templates/<template_id>/groups/<int:number>/remove")
@allows("templates.edit")
def remove_group(template_id: str, number: int) -> AnyResponse:
    """Take a group out, also of the schedules; hosts keep theirs."""
    found = _looked_at(template_id)
    form = template_forms.form_of(found)
    name = _of(form.groups, number).name
    groups = [one for one in form.groups if one.name != name]
    planned = [replace(one, groups=[group for group in one.groups if group != name]) for one in form.schedules]
    planned = [one if one.groups else replace(one, is_enabled=False) for one in planned]
    return _save(found, replace(form, groups=groups, schedules=planned), "template_saved")


@blueprint.get("/templates/<template_id>/schedules/new")
@allows("templates.edit")
def new_schedule(template_id: str) -> Response:
    """A nightly schedule of all groups."""
    form = template_forms.form_of(templates.get(template_id))
    name = {"name": ""} if any(one.name == schedule_fields.NEW["name"] for one in form.schedules) else {}
    return _schedule_page(template_id, None, schedule_fields.NEW | name, [one.name for one in form.groups], {})


@blueprint.get("/templates/<template_id>/schedules/<int:number>")
@allows("templates.edit")
def edit_schedule(template_id: str, number: int) -> Response:
    """The form, filled with the schedule."""
    form = _of(template_forms.form_of(templates.get(template_id)).schedules, number)
    return _schedule_page(template_id, number, schedule_fields.texts_of(form), form.groups, {})


@blueprint.post("/templates/<template_id>/schedules/new")
@allows("templates.edit")
def add_schedule(template_id: str) -> AnyResponse:
    """One more schedule."""
    return _save_schedule(template_id, None)


@blueprint.post("/templates/<template_id>/schedules/<int:number>")
@allows("templates.edit")
def save_schedule(template_id: str, number: int) -> AnyResponse:
    """A changed schedule."""
    return _save_schedule(template_id, number)


@blueprint.post("/templates/<template_id>/schedules/<int:number>/remove")
@allows("templates.edit")
def remove_schedule(template_id: str, number: int) -> AnyResponse:
    """Take a schedule out; hosts keep theirs."""
    found = _looked_at(template_id)
    form = template_forms.form_of(found)
    gone = _of(form.schedules, number)
    return _save(found, replace(form, schedules=[one for one in form.schedules if one != gone]), "template_saved")


def _save_group(template_id: str, number: int | None) -> AnyResponse:
    found = _looked_at(template_id)
    form, texts = template_forms.form_of(found), dict(request.form)
    before = _of(form.groups, number) if number is not None else None
    try:
        typed = source_group_fields.typed_for_template(texts, before or SourceGroupForm())
        planned = form.schedules
        if before is not None:
            planned = [
                replace(one, groups=[typed.name if name == before.name else name for name in one.groups])
                for one in planned
            ]
        return _save(found, replace(form, groups=_put(form.groups, number, typed), schedules=planned), "template_saved")
    except Invalid as error:
        return _group_page(template_id, number, texts, error.fields, status=422)


def _save_schedule(template_id: str, number: int | None) -> AnyResponse:
    found = _looked_at(template_id)
    form, texts = template_forms.form_of(found), request.form
    if number is not None:
        _of(form.schedules, number)
    try:
        typed = schedule_fields.checked(texts)
        return _save(found, replace(form, schedules=_put(form.schedules, number, typed)), "template_saved")
    except Invalid as error:
        fields = schedule_fields.named(error.fields, texts)
        return _schedule_page(template_id, number, texts, texts.getlist("groups"), fields, status=422)


def _save(found: Template, form: TemplateForm, flash: str) -> AnyResponse:
    service.save(runtime().bus, template_id=found.id, form=form, actor=context.actor(), now=context.now())
    return go(f"/templates/{found.id}", flash)


def _looked_at(template_id: str) -> Template:
    """The template, if it is as it was when the form was shown: its parts are known by their numbers."""
    found = templates.get(template_id)
    if request.form.get("version", "") != str(found.version):
        raise Conflict(
            "The template was changed meanwhile.", code="template_changed", help="Open it once more, and look."
        )
    return found


def _group_page(
    template_id: str, number: int | None, texts: dict[str, str], fields: dict[str, str], *, status: int = 200
) -> Response:
    found = templates.get(template_id)
    groups = template_forms.form_of(found).groups
    return page(
        "templates/group.html", status=status, section="fleet", template=found, number=number, values=texts,
        fields=fields, part=_of(groups, number) if number is not None else None, is_only=len(groups) == 1,
        action=f"/templates/{found.id}/groups/{'new' if number is None else number}",
        **source_group_fields.choices(texts, HOOKS),
    )  # fmt: skip


def _schedule_page(
    template_id: str, number: int | None, texts: dict[str, str] | MultiDict[str, str], chosen: list[str],
    fields: dict[str, str], *, status: int = 200,
) -> Response:  # fmt: skip
    found = templates.get(template_id)
    form = template_forms.form_of(found)
    return page(
        "templates/schedule.html", status=status, section="fleet", template=found, number=number, values=texts,
        fields=fields, part=_of(form.schedules, number) if number is not None else None, chosen=chosen,
        groups=[(one.name, one.name, one.includes) for one in form.groups], choices=schedule_fields,
        action=f"/templates/{found.id}/schedules/{'new' if number is None else number}",
    )  # fmt: skip


def _of(parts: list[Part], number: int) -> Part:
    if number >= len(parts):
        raise NotFound("This template has no such part.")
    return parts[number]


def _put(parts: list[Part], number: int | None, part: Part) -> list[Part]:
    if number is None:
        return [*parts, part]
    return [*parts[:number], part, *parts[number + 1 :]]
