"""Source groups: what a host backs up."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import source_groups as service
from rm.store import hosts, source_groups
from rm.web import context
from rm.web.layout import go, page

blueprint = Blueprint("source_groups", __name__)

REMOVE_POINTS = ("It is not backed up any more.", "Its snapshots stay in the repository.")


@blueprint.get("/hosts/<host_id>/sources/new")
@allows("sources.edit")
def new(host_id: str) -> Response:
    """An empty form."""
    return _form(host_id, None, {"name": "", "includes": "", "excludes": ""}, {})


@blueprint.post("/hosts/<host_id>/sources/new")
@allows("sources.edit")
def create(host_id: str) -> AnyResponse:
    """A new group."""
    return _save(host_id, None)


@blueprint.get("/hosts/<host_id>/sources/<group_id>")
@allows("sources.edit")
def edit(host_id: str, group_id: str) -> Response:
    """The form, filled with the group."""
    group = source_groups.get(group_id, host_id=host_id)
    values = {"name": group.name, "includes": "\n".join(group.includes), "excludes": "\n".join(group.excludes)}
    return _form(host_id, group_id, values, {})


@blueprint.post("/hosts/<host_id>/sources/<group_id>")
@allows("sources.edit")
def save(host_id: str, group_id: str) -> AnyResponse:
    """A changed group."""
    source_groups.get(group_id, host_id=host_id)
    return _save(host_id, group_id)


@blueprint.get("/hosts/<host_id>/sources/<group_id>/remove")
@allows("sources.edit")
def ask_remove(host_id: str, group_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    group = source_groups.get(group_id, host_id=host_id)
    path = f"/hosts/{host_id}/sources/{group_id}"
    return page(
        "shared/confirm.html", section="fleet", title=f"Remove the group {group.name}", action=f"{path}/remove",
        verb="Remove group", points=REMOVE_POINTS, typed="", error="", back=path,
    )  # fmt: skip


@blueprint.post("/hosts/<host_id>/sources/<group_id>/remove")
@allows("sources.edit")
def remove(host_id: str, group_id: str) -> AnyResponse:
    """Forget a group."""
    service.remove(runtime().bus, host_id=host_id, group_id=group_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}", "source_removed")


def _save(host_id: str, group_id: str | None) -> AnyResponse:
    values = {key: request.form.get(key, "") for key in ("name", "includes", "excludes")}
    try:
        service.save(
            runtime().bus, host_id=host_id, group_id=group_id, name=values["name"],
            includes=values["includes"].split("\n"), excludes=values["excludes"].split("\n"),
            actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _form(host_id, group_id, values, error.fields, status=422)
    return go(f"/hosts/{host_id}", "source_saved")


def _form(
    host_id: str, group_id: str | None, values: dict[str, str], fields: dict[str, str], *, status: int = 200
) -> Response:
    host = hosts.get(host_id)
    group = source_groups.get(group_id, host_id=host_id) if group_id else None
    return page(
        "source_groups/form.html", status=status, section="fleet", host=host, group=group, values=values,
        fields=fields, action=f"/hosts/{host_id}/sources/{group_id or 'new'}", remove_points=REMOVE_POINTS,
    )  # fmt: skip
