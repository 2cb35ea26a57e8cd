"""A host's source groups for programs."""

from dataclasses import replace
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import BY_PATH, operation
from rm.api.shapes import page_of, ref
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import source_groups as service
from rm.services.source_group_forms import SourceGroupForm, form_of
from rm.store import hosts, source_groups

routes = Blueprint("api_source_groups", __name__, url_prefix="/api/v1/hosts/<host_id>/source-groups")

_TEXTS = ("name", "mode", "pre_hook", "post_hook", "pre_shell", "post_shell")
_LISTS = ("includes", "excludes", "tags")
_FLAGS = ("one_file_system", "exclude_caches", "remove_pre_shell", "remove_post_shell")
_NUMBERS = ("retries", "retry_minutes", "upload_kib", "download_kib", "hook_seconds")


@routes.get("")
@allows("fleet.view")
@operation({200: page_of("SourceGroup")}, scope=BY_PATH)
def index(host_id: str) -> dict[str, Any]:
    """Every source group of a host."""
    host = hosts.get(host_id)
    return {"items": [documents.source_group(group) for group in source_groups.list_for_host(host.id)], "next": None}


@routes.get("/<group_id>")
@allows("fleet.view")
@operation({200: ref("SourceGroup")}, scope=BY_PATH)
def show(host_id: str, group_id: str) -> dict[str, Any]:
    """One source group."""
    return documents.source_group(source_groups.get(group_id, host_id=host_id))


@routes.post("")
@allows("sources.edit")
@operation({201: ref("SourceGroup")}, body=ref("NewSourceGroup"), scope=BY_PATH)
def create(host_id: str) -> tuple[dict[str, Any], int]:
    """A new group; `name` and `includes` must be there, the rest has defaults."""
    body = documents.body()
    documents.text(body, "name")
    return documents.source_group(_save(host_id, None, form(body, SourceGroupForm()))), 201


@routes.put("/<group_id>")
@allows("sources.edit")
@operation({200: ref("SourceGroup")}, body=ref("SourceGroupForm"), scope=BY_PATH)
def change(host_id: str, group_id: str) -> dict[str, Any]:
    """A changed group; what the body does not name stays as it is."""
    existing = source_groups.get(group_id, host_id=host_id)
    return documents.source_group(_save(host_id, group_id, form(documents.body(), form_of(existing))))


@routes.delete("/<group_id>")
@allows("sources.edit")
@operation({204: ""}, scope=BY_PATH)
def remove(host_id: str, group_id: str) -> tuple[str, int]:
    """Forget a group; its snapshots stay."""
    parts = runtime()
    service.remove(parts.bus, host_id=host_id, group_id=group_id, actor=caller.actor(), now=parts.clock())
    return "", 204


def form(body: dict[str, Any], base: SourceGroupForm) -> SourceGroupForm:
    """What the body says of a group, and for the rest what `base` says; raises Invalid."""
    found: dict[str, Any] = {name: documents.text(body, name) for name in _TEXTS if name in body}
    found |= {name: documents.texts(body, name) for name in _LISTS if name in body}
    found |= {name: documents.flag(body, name, False) for name in _FLAGS if name in body}
    found |= {name: documents.whole(body, name, 0) for name in _NUMBERS if name in body}
    if "stale_after_hours" in body:
        is_given = body["stale_after_hours"] is not None
        found["stale_after_hours"] = documents.whole(body, "stale_after_hours", 0) if is_given else None
    if "retention" in body:
        if not isinstance(body["retention"], dict) or len(body["retention"]) > 20:
            raise Invalid({"retention": 'must be an object such as {"keep_daily": 7}'})
        found["retention"] = body["retention"]
    return replace(base, **found)


def _save(host_id: str, group_id: str | None, wanted: SourceGroupForm) -> Any:
    parts = runtime()
    return service.save(
        parts.bus,
        parts.vault,
        host_id=host_id,
        group_id=group_id,
        form=wanted,
        typed_name=documents.text(documents.body(), "typed_name", ""),
        actor=caller.actor(),
        now=parts.clock(),
    )
