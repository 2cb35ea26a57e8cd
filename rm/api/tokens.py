"""Tokens of programs, made and ended by people; and who calls, for those who want to know."""

from datetime import datetime
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import OPEN, operation
from rm.api.shapes import OFFSET, page_of, ref, whole
from rm.domain.permissions import PERMISSIONS, allows
from rm.runtime import runtime
from rm.services import api_tokens as service
from rm.store import api_tokens
from rm.store.models import ApiToken

routes = Blueprint("api_tokens", __name__, url_prefix="/api/v1")

MAX_PAGE = 200


@routes.get("/me")
@allows("account.view")
@operation({200: ref("Caller")}, scope=OPEN)
def me() -> dict[str, Any]:
    """Who calls, in which role, for hosts with which tags, and what that allows."""
    actor = caller.actor()
    return {
        "kind": actor.kind,
        "id": actor.id,
        "name": actor.name,
        "role": actor.role,
        "tags": list(caller.scope()),
        "permissions": [name for name in PERMISSIONS if caller.may(name)],
    }


@routes.get("/tokens")
@allows("tokens.own")
@operation({200: page_of("Token")}, query={"limit": whole(1, MAX_PAGE), "offset": OFFSET}, people=True)
def index() -> dict[str, Any]:
    """One's own tokens, the newest first; for those who manage users, everybody's."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    whose = None if caller.may("users.manage") else caller.actor().id
    found = api_tokens.list_page(user_id=whose, limit=limit + 1, offset=offset)
    return {"items": _documents(found[:limit]), "next": offset + limit if len(found) > limit else None}


@routes.post("/tokens")
@allows("tokens.own")
@operation({201: ref("TokenMade")}, body=ref("NewToken"), people=True)
def create() -> tuple[dict[str, Any], int]:
    """A token that can do no more than whoever makes it; its text is shown this once."""
    parts, body = runtime(), documents.body()
    made, plain = service.create(
        parts.bus, name=documents.text(body, "name"), role=documents.text(body, "role"),
        tags=tuple(documents.texts(body, "tags")), days=documents.whole(body, "expires_in_days", service.DEFAULT_DAYS),
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _documents([made])[0] | {"token": plain}, 201


@routes.get("/tokens/<token_id>")
@allows("tokens.own")
@operation({200: ref("Token")}, people=True)
def show(token_id: str) -> dict[str, Any]:
    """One token, but never its text."""
    return _documents([service.get_visible(token_id, actor=caller.actor())])[0]


@routes.delete("/tokens/<token_id>")
@allows("tokens.own")
@operation({204: ""}, people=True)
def revoke(token_id: str) -> tuple[str, int]:
    """End a token at once."""
    parts = runtime()
    service.revoke(parts.bus, token_id=token_id, actor=caller.actor(), now=parts.clock())
    return "", 204


def _documents(found: list[ApiToken]) -> list[dict[str, Any]]:
    names, now = api_tokens.names_of_owners(), runtime().clock()
    return [_document(one, names.get(one.user_id or ""), now) for one in found]


def _document(found: ApiToken, owner: str | None, now: datetime) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "role": found.role,
        "tags": found.tags,
        "owner": owner,
        "state": service.state(found, now),
        "created_by": found.created_by,
        "created_at": documents.instant(found.created_at),
        "expires_at": documents.instant(found.expires_at),
        "last_used_at": documents.instant(found.last_used_at),
        "last_address": found.last_address or None,
        "revoked_at": documents.instant(found.revoked_at),
    }
