"""Source groups: what a host backs up, how, and what of it is kept."""

from collections.abc import Mapping

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import general_settings, retention_changes
from rm.services import source_groups as service
from rm.services.source_group_forms import SourceGroupForm, form_of
from rm.store import hosts, schedules, source_groups, templates
from rm.store.models import SourceGroup
from rm.web import context, retention_form, source_group_fields
from rm.web.layout import go, page
from rm.web.retention_preview import SHOWN, retention_of
from rm.web.security import redirect_to

blueprint = Blueprint("source_groups", __name__)

REMOVE_POINTS = ("It is not backed up any more.", "Its snapshots stay in the repository.")


@blueprint.get("/hosts/<host_id>/sources/new")
@allows("sources.edit")
def new(host_id: str) -> Response:
    """An empty form."""
    return _form(host_id, None, _texts_of_new(), {})


@blueprint.post("/hosts/<host_id>/sources/new")
@allows("sources.edit")
def create(host_id: str) -> AnyResponse:
    """A new group."""
    return _save(host_id, None)


@blueprint.get("/hosts/<host_id>/sources/new/preview")
@allows("sources.edit")
def preview_of_new(host_id: str) -> AnyResponse:
    """What a retention keeps, in words, for a group that has no snapshots yet; a fragment of its form."""
    hosts.get(host_id)
    if request.headers.get("HX-Request-Type") != "partial":
        return redirect_to(f"/hosts/{host_id}/sources/new")
    retention = retention_of(retention_form.resolved(request.args)) or {}
    return page("source_groups/_words.html", words=retention_form.words(retention))


@blueprint.get("/hosts/<host_id>/sources/<group_id>")
@allows("sources.edit")
def edit(host_id: str, group_id: str) -> Response:
    """The form, filled with the group."""
    group = source_groups.get(group_id, host_id=host_id)
    return _form(host_id, group, source_group_fields.texts_of(form_of(group)), {})


@blueprint.post("/hosts/<host_id>/sources/<group_id>")
@allows("sources.edit")
def save(host_id: str, group_id: str) -> AnyResponse:
    """A changed group."""
    return _save(host_id, source_groups.get(group_id, host_id=host_id))


@blueprint.get("/hosts/<host_id>/sources/<group_id>/remove")
@allows("sources.edit")
def ask_remove(host_id: str, group_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    group = source_groups.get(group_id, host_id=host_id)
    path = f"/hosts/{host_id}/sources/{group_id}"
    return page(
        "shared/confirm.html", section="fleet", title=f"Remove the group {group.name}", action=f"{path}/remove",
        verb="Remove group", points=_remove_points(group), typed="", error="", back=path,
    )  # fmt: skip


@blueprint.post("/hosts/<host_id>/sources/<group_id>/remove")
@allows("sources.edit")
def remove(host_id: str, group_id: str) -> AnyResponse:
    """Forget a group."""
    service.remove(runtime().bus, host_id=host_id, group_id=group_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "source_removed")


def _save(host_id: str, group: SourceGroup | None) -> AnyResponse:
    host, texts, now = hosts.get(host_id), dict(request.form), context.now()
    if "show" in texts:
        return _form(host_id, group, texts, {})
    typed_name = texts.get("typed_name", "")
    try:
        form = source_group_fields.typed(texts, form_of(group) if group is not None else SourceGroupForm())
        if group is None:
            # Snapshots of this name may be there, of a group that was removed.
            retention_changes.confirm(
                host=host, group_name=form.name.strip(), before={}, retention=form.retention, typed_name=typed_name,
                now=now,
            )  # fmt: skip
        service.save(
            runtime().bus, runtime().vault, host_id=host_id, group_id=group.id if group is not None else None,
            form=form, typed_name=typed_name, actor=context.actor(), now=now,
        )  # fmt: skip
    except Invalid as error:
        return _form(host_id, group, texts, error.fields, status=422)
    return go(f"/hosts/{host_id}", "source_saved")


def _form(
    host_id: str, group: SourceGroup | None, texts: Mapping[str, str], fields: dict[str, str], *, status: int = 200
) -> Response:
    host, now = hosts.get(host_id), context.now()
    may_edit_hooks = service.may_edit_hooks(context.actor())
    values: dict[str, object] = {}
    if group is not None:
        retention = retention_of(retention_form.resolved(texts)) or {}
        values = {
            "preview": retention_changes.preview(host=host, group_name=group.name, retention=retention, now=now),
            "confirmation": retention_changes.needs_confirmation(
                host=host,
                group_name=group.name,
                before=retention_changes.looked_at(group),
                retention=retention,
                now=now,
            ),
            "template": templates.find(group.template_id) if group.template_id else None,
            "remove_points": _remove_points(group),
        }
    return page(
        "source_groups/form.html", status=status, section="fleet", host=host, group=group, values=texts, fields=fields,
        action=f"/hosts/{host_id}/sources/{group.id if group is not None else 'new'}",
        shown=SHOWN, is_in_form=True, may_run=context.may("jobs.run"),
        **source_group_fields.choices(texts, source_group_fields.hooks_of(host, group, may_edit=may_edit_hooks)),
        **values,
    )  # fmt: skip


def _texts_of_new() -> dict[str, str]:
    wanted = general_settings.current()
    preset = next((one for one in retention_form.PRESETS if one.key == wanted.retention), retention_form.SUGGESTED)
    texts = source_group_fields.texts_of(SourceGroupForm(mode=wanted.group_mode, retention=preset.retention))
    return texts | {"exclude_caches": "yes"}


def _remove_points(group: SourceGroup) -> tuple[str, ...]:
    alone = [f"The schedule {schedule.name} runs nothing else; it is switched off." for schedule in
             schedules.list_running_only(group.id)]  # fmt: skip
    return (*REMOVE_POINTS, *alone)
