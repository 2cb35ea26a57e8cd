"""The audit log for programs."""

from datetime import datetime
from typing import Any

from flask import Blueprint, request

from rm.api import documents
from rm.api.operations import operation
from rm.api.shapes import described, one_of, page_of, text, whole
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.shared import instants
from rm.store import audit
from rm.store.audit import Filters
from rm.store.models import AuditEntry

routes = Blueprint("api_audit", __name__, url_prefix="/api/v1/audit")

MAX_PAGE = 200
_TEXTS = ("q", "who", "kind", "action", "target", "address")


@routes.get("")
@allows("audit.view")
@operation(
    {200: page_of("AuditEntry")},
    query={
        "q": described(text(200), "In names, actions and addresses."), "who": text(200),
        "kind": one_of("", "user", "host", "token", "server"), "action": text(200), "target": text(200),
        "address": text(200), "since": described(text(40), "An instant."), "until": described(text(40), "An instant."),
        "before": whole(0, 2**53), "limit": whole(1, MAX_PAGE),
    },
)  # fmt: skip
def index() -> dict[str, Any]:
    """One page, the newest first; `next` goes into ?before=, or is null. A search may give less than a full page."""
    limit, before = documents.number("limit", 50, MAX_PAGE), documents.number("before", 0, 2**53)
    texts = {name: request.args.get(name, "").strip() for name in _TEXTS}
    filters = Filters(**texts, since=_instant("since"), until=_instant("until"))
    found = audit.list_page(filters, before_id=before or None, limit=limit)
    return {"items": [_document(one) for one in found.entries], "next": found.next_before}


def _instant(name: str) -> datetime | None:
    given = request.args.get(name, "")
    try:
        return instants.from_text(given) if given else None
    except ValueError as error:
        raise Invalid({name: "Write an instant such as 2026-11-23T12:00:00Z."}) from error


def _document(found: AuditEntry) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": documents.instant(found.at),
        "actor": {
            "kind": found.actor_kind, "id": found.actor_id or None, "name": found.actor_name,
            "address": found.address or None,
        },
        "action": found.action,
        "target": {
            "kind": found.target_kind or None, "id": found.target_id or None, "name": found.target_name or None,
        },
        "payload": found.payload,
    }  # fmt: skip
