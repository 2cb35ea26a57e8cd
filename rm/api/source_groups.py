"""A host's source groups for programs."""

from typing import Any

from flask import Blueprint

from rm.api import documents
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import source_groups as service
from rm.store import hosts, source_groups

routes = Blueprint("api_source_groups", __name__, url_prefix="/api/v1/hosts/<host_id>/source-groups")


@routes.get("")
@allows("fleet.view")
def index(host_id: str) -> dict[str, Any]:
    host = hosts.get(host_id)
    return {"items": [documents.source_group(group) for group in source_groups.list_for_host(host.id)], "next": None}


@routes.post("")
@allows("sources.edit")
def create(host_id: str) -> tuple[dict[str, Any], int]:
    return documents.source_group(_save(host_id, None)), 201


@routes.put("/<group_id>")
@allows("sources.edit")
def change(host_id: str, group_id: str) -> dict[str, Any]:
    return documents.source_group(_save(host_id, group_id))


def _save(host_id: str, group_id: str | None) -> Any:
    parts = runtime()
    body = documents.body()
    return service.save(
        parts.bus,
        host_id=host_id,
        group_id=group_id,
        name=documents.text(body, "name"),
        includes=documents.texts(body, "includes"),
        excludes=documents.texts(body, "excludes"),
        actor=documents.actor(),
        now=parts.clock(),
    )
