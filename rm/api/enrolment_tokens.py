"""Enrolment tokens for programs: one for many hosts, to be used by Ansible and its like."""

from datetime import timedelta
from typing import Any

from flask import Blueprint

from rm.api import documents
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import enrolments

routes = Blueprint("api_enrolment_tokens", __name__, url_prefix="/api/v1/enrolment-tokens")

MAX_SECONDS = 366 * 24 * 3600


@routes.post("")
@allows("hosts.add")
def mint() -> tuple[dict[str, Any], int]:
    """A token, shown this once, and the line that uses it."""
    parts = runtime()
    body = documents.body()
    seconds = documents.whole(body, "expires_in_seconds", 3600)
    if not 0 < seconds <= MAX_SECONDS:
        raise Invalid({"expires_in_seconds": "Choose between one minute and 30 days."})
    token, plain = enrolments.mint_token(
        parts.bus,
        actor=documents.actor(),
        now=parts.clock(),
        max_uses=documents.whole(body, "max_uses", 1),
        lifetime=timedelta(seconds=seconds),
        tags=tuple(documents.texts(body, "tags")),
    )
    return {
        "id": token.id,
        "token": plain,
        "expires_at": documents.instant(token.expires_at),
        "install_command": enrolments.install_command(base_url=parts.settings.base_url, token=plain),
    }, 201
