"""Hosts for programs: listing, looking, revoking, removing."""

from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import BY_PATH, FILTERED, operation
from rm.api.shapes import ID, INSTANT, OFFSET, TEXT, WHOLE, nothing_or, page_of, record, ref, text, whole
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import credentials, enrolments, token_scope
from rm.services import hosts as service
from rm.store import host_list, hosts

routes = Blueprint("api_hosts", __name__, url_prefix="/api/v1/hosts")

MAX_PAGE = 200


@routes.get("")
@allows("fleet.view")
@operation(
    {200: page_of("Host", total=WHOLE)},
    query={"q": text(200), "tag": text(50), "status": TEXT, "limit": whole(1, MAX_PAGE), "offset": OFFSET},
    scope=FILTERED,
)
def index() -> dict[str, Any]:
    """One page of hosts, problems first; `next` is the offset to go on with, or null."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    rows, total = host_list.list_page(
        now=runtime().clock(),
        q=request.args.get("q", "")[:200],
        tag=request.args.get("tag", "")[:50],
        status=request.args.get("status", ""),
        limit=limit,
        offset=offset,
        scope=caller.scope(),
        with_history=False,
    )
    after = offset + len(rows)
    return {"items": [documents.host(row) for row in rows], "next": after if after < total else None, "total": total}


@routes.get("/<host_id>")
@allows("fleet.view")
@operation({200: ref("Host")}, scope=BY_PATH)
def show(host_id: str) -> dict[str, Any]:
    """One host, as a list shows it."""
    return documents.host(hosts.row(host_id, now=runtime().clock()))


@routes.put("/<host_id>")
@allows("hosts.edit")
@operation({200: ref("Host")}, body=ref("HostChange"), scope=BY_PATH)
def change(host_id: str) -> dict[str, Any]:
    """Change name, tags or mode; what the body does not name stays as it is."""
    parts, body = runtime(), documents.body()
    tags = documents.texts(body, "tags") if "tags" in body else None
    if caller.scope() and tags is not None:
        token_scope.check_tags(caller.scope(), tags)
    service.change(
        parts.bus, host_id=host_id, name=documents.text(body, "name") if "name" in body else None,
        tags=None if tags is None else tuple(tags), mode=documents.text(body, "mode") if "mode" in body else None,
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return documents.host(hosts.row(host_id, now=parts.clock()))


@routes.delete("/<host_id>")
@allows("hosts.remove")
@operation({204: ""}, scope=BY_PATH)
def remove(host_id: str) -> tuple[str, int]:
    """Forget a host; whoever calls the API has typed its id."""
    parts = runtime()
    service.remove(
        parts.bus, host_id=host_id, typed_name=hosts.get(host_id).name, actor=caller.actor(), now=parts.clock()
    )
    return "", 204


@routes.post("/<host_id>/revoke")
@allows("hosts.revoke")
@operation({200: ref("Host")}, scope=BY_PATH)
def revoke(host_id: str) -> dict[str, Any]:
    """End its credential and its connection; its history stays."""
    parts = runtime()
    service.revoke_credential(parts.bus, host_id=host_id, actor=caller.actor(), now=parts.clock())
    return documents.host(hosts.row(host_id, now=parts.clock()))


@routes.post("/<host_id>/renew-credential")
@allows("hosts.renew")
@operation({202: record("*", host_id=ID, ordered_at=nothing_or(INSTANT))}, scope=BY_PATH)
def renew_credential(host_id: str) -> tuple[dict[str, Any], int]:
    """Hand the host a new credential over its connection; again: the one that is on its way."""
    parts = runtime()
    renewal = credentials.renew(parts.bus, parts.vault, host_id=host_id, actor=caller.actor(), now=parts.clock())
    return {"host_id": host_id, "ordered_at": documents.instant(renewal.created_at)}, 202


@routes.post("/<host_id>/re-enrol")
@allows("hosts.reenrol")
@operation({201: ref("EnrolmentToken")}, scope=BY_PATH)
def re_enrol(host_id: str) -> tuple[dict[str, Any], int]:
    """A token, shown this once, with which the host comes in again as itself; its old credential ends then."""
    parts = runtime()
    token, plain = enrolments.mint_token(
        parts.bus, actor=caller.actor(), now=parts.clock(), host_id=hosts.get(host_id).id
    )  # fmt: skip
    return documents.enrolment_token(token, plain, base_url=parts.settings.base_url), 201
