"""Schedules of a host: when it backs up which of its source groups."""

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import general_settings
from rm.services import schedules as service
from rm.services.schedules import ScheduleForm
from rm.store import hosts, schedules, source_groups, templates
from rm.store.models import Schedule
from rm.web import context, schedule_fields, schedule_view
from rm.web.layout import go, page

blueprint = Blueprint("schedules", __name__)

REMOVE_POINTS = ("Its groups are backed up no more by it.", "What ran, and every snapshot, stays.")


@blueprint.get("/hosts/<host_id>/schedules/new")
@allows("schedules.edit")
def new(host_id: str) -> Response:
    """The form with what most want, or as the address says, so that next runs can be looked at before saving."""
    texts = request.args
    if "when" not in texts:
        group_ids = [group.id for group in source_groups.list_for_host(host_id)]
        asked = [group_id for group_id in request.args.getlist("groups") if group_id in group_ids]
        texts = MultiDict([*_name_free(host_id).items(), *(("groups", group_id) for group_id in asked or group_ids)])
    return _form(host_id, None, texts, {})


@blueprint.post("/hosts/<host_id>/schedules/new")
@allows("schedules.edit")
def create(host_id: str) -> AnyResponse:
    """A new schedule."""
    return _save(host_id, None)


@blueprint.get("/hosts/<host_id>/schedules/<schedule_id>")
@allows("schedules.edit")
def edit(host_id: str, schedule_id: str) -> Response:
    """The form, filled with the schedule, or as the address says."""
    found = schedules.get(schedule_id, host_id=host_id)
    texts = request.args
    if "when" not in texts:
        form = _form_of(found)
        values = schedule_fields.texts_of(form)
        texts = MultiDict([*values.items(), *(("groups", group_id) for group_id in form.groups)])
    return _form(host_id, found, texts, {})


@blueprint.post("/hosts/<host_id>/schedules/<schedule_id>")
@allows("schedules.edit")
def save(host_id: str, schedule_id: str) -> AnyResponse:
    """A changed schedule."""
    return _save(host_id, schedules.get(schedule_id, host_id=host_id))


@blueprint.post("/hosts/<host_id>/schedules/<schedule_id>/enable")
@allows("schedules.edit")
def enable(host_id: str, schedule_id: str) -> AnyResponse:
    """Switch a schedule on."""
    return _switch(host_id, schedule_id, is_enabled=True)


@blueprint.post("/hosts/<host_id>/schedules/<schedule_id>/disable")
@allows("schedules.edit")
def disable(host_id: str, schedule_id: str) -> AnyResponse:
    """Switch a schedule off."""
    return _switch(host_id, schedule_id, is_enabled=False)


@blueprint.get("/hosts/<host_id>/schedules/<schedule_id>/remove")
@allows("schedules.edit")
def ask_remove(host_id: str, schedule_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    found = schedules.get(schedule_id, host_id=host_id)
    path = f"/hosts/{host_id}/schedules/{schedule_id}"
    return page(
        "shared/confirm.html", section="fleet", title=f"Remove the schedule {found.name}", action=f"{path}/remove",
        verb="Remove schedule", points=REMOVE_POINTS, typed="", error="", back=path,
    )  # fmt: skip


@blueprint.post("/hosts/<host_id>/schedules/<schedule_id>/remove")
@allows("schedules.edit")
def remove(host_id: str, schedule_id: str) -> AnyResponse:
    """Forget a schedule."""
    service.remove(
        runtime().bus, runtime().vault, host_id=host_id, schedule_id=schedule_id, actor=context.actor(),
        now=context.now(),
    )  # fmt: skip
    return go(f"/hosts/{host_id}", "schedule_removed")


def _switch(host_id: str, schedule_id: str, *, is_enabled: bool) -> AnyResponse:
    service.enable(
        runtime().bus, runtime().vault, host_id=host_id, schedule_id=schedule_id, is_enabled=is_enabled,
        actor=context.actor(), now=context.now(),
    )  # fmt: skip
    return go(f"/hosts/{host_id}", "schedule_enabled" if is_enabled else "schedule_disabled")


def _save(host_id: str, found: Schedule | None) -> AnyResponse:
    hosts.get(host_id)
    texts = request.form
    try:
        service.save(
            runtime().bus, runtime().vault, host_id=host_id, schedule_id=found.id if found is not None else None,
            form=schedule_fields.typed(texts), actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _form(host_id, found, texts, schedule_fields.named(error.fields, texts), status=422)
    return go(f"/hosts/{host_id}", "schedule_saved")


def _form(
    host_id: str, found: Schedule | None, texts: MultiDict[str, str], fields: dict[str, str], *, status: int = 200
) -> Response:
    host = hosts.get(host_id)
    return page(
        "schedules/form.html", status=status, section="fleet", host=host, schedule=found, values=texts,
        chosen=texts.getlist("groups"), fields=fields,
        action=f"/hosts/{host_id}/schedules/{found.id if found is not None else 'new'}",
        groups=[(group.id, group.name, group.includes) for group in source_groups.list_for_host(host_id)],
        choices=schedule_fields,
        beside=schedule_view.beside(
            host, texts, schedule_id=found.id if found is not None else None, now=context.now()
        ),
        template=templates.find(found.template_id) if found is not None and found.template_id else None,
        remove_points=REMOVE_POINTS,
    )  # fmt: skip


def _form_of(found: Schedule) -> ScheduleForm:
    groups = schedules.groups_by_schedule(found.host_id).get(found.id, [])
    return ScheduleForm(
        name=found.name, cron=found.cron, every_minutes=found.every_minutes, jitter_seconds=found.jitter_seconds,
        is_enabled=found.is_enabled, groups=[group.id for group in groups],
    )  # fmt: skip


def _name_free(host_id: str) -> dict[str, str]:
    taken = {one.name for one in schedules.list_for_host(host_id)}
    hour, minute = general_settings.current().schedule_at.split(":")
    at = {"at": f"{hour}:{minute}", "cron": f"{int(minute)} {int(hour)} * * *"}
    return schedule_fields.NEW | at | ({"name": ""} if schedule_fields.NEW["name"] in taken else {})
