"""Enrolment tokens for programs: one for many hosts, to be used by Ansible and its like."""

from datetime import timedelta
from typing import Any

from flask import Blueprint

from rm.api import caller, documents
from rm.api.operations import FILTERED, operation
from rm.api.shapes import OFFSET, page_of, ref, whole
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import enrolments, token_scope
from rm.store import enrolments as stored
from rm.store.models import EnrolmentToken

routes = Blueprint("api_enrolment_tokens", __name__, url_prefix="/api/v1/enrolment-tokens")

MAX_PAGE = 200
MAX_SECONDS = 366 * 24 * 3600


@routes.post("")
@allows("hosts.add")
@operation({201: ref("EnrolmentToken")}, body=ref("NewEnrolmentToken"), scope=FILTERED)
def mint() -> tuple[dict[str, Any], int]:
    """A token, shown this once, and the line that uses it."""
    parts = runtime()
    body = documents.body()
    seconds = documents.whole(body, "expires_in_seconds", 3600)
    if not 0 < seconds <= MAX_SECONDS:
        raise Invalid({"expires_in_seconds": "Choose between one minute and 30 days."})
    tags = documents.texts(body, "tags")
    if caller.scope():
        token_scope.check_tags(caller.scope(), tags)
    token, plain = enrolments.mint_token(
        parts.bus, actor=caller.actor(), now=parts.clock(), max_uses=documents.whole(body, "max_uses", 1),
        lifetime=timedelta(seconds=seconds), tags=tuple(tags),
    )  # fmt: skip
    return documents.enrolment_token(token, plain, base_url=parts.settings.base_url), 201


@routes.get("")
@allows("hosts.add")
@operation({200: page_of("OpenEnrolmentToken")}, query={"limit": whole(1, MAX_PAGE), "offset": OFFSET})
def index() -> dict[str, Any]:
    """The tokens that still let hosts in, the newest first; never the tokens themselves."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = stored.list_open(runtime().clock(), limit=limit + 1, offset=offset)
    return {"items": [_seen(one) for one in found[:limit]], "next": offset + limit if len(found) > limit else None}


@routes.delete("/<token_id>")
@allows("hosts.add")
@operation({204: ""})
def revoke(token_id: str) -> tuple[str, int]:
    """End it before its time; the hosts that are in stay in."""
    parts = runtime()
    enrolments.revoke_token(parts.bus, token_id=token_id, actor=caller.actor(), now=parts.clock())
    return "", 204


@routes.get("/<token_id>")
@allows("hosts.add")
@operation({200: ref("EnrolmentTokenSeen")})
def show(token_id: str) -> dict[str, Any]:
    """How far it is: which hosts came in with it, and whether it still lets any in."""
    found = stored.get_token(token_id)
    is_open = found.revoked_at is None and found.expires_at > runtime().clock() and found.uses < found.max_uses
    host_ids = [host.id for host in stored.hosts_of_token(token_id)[:1000]]
    return _seen(found) | {"is_open": is_open, "host_ids": host_ids}


def _seen(found: EnrolmentToken) -> dict[str, Any]:
    return {
        "id": found.id,
        "uses": found.uses,
        "max_uses": found.max_uses,
        "tags": found.tags,
        "created_by": found.created_by,
        "created_at": documents.instant(found.created_at),
        "expires_at": documents.instant(found.expires_at),
    }
