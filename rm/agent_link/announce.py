"""The other way in: a host announces itself with its own key, a person decides, the host claims its credential."""

from typing import Any

from flask import Blueprint, request

from rm.agent_link import bodies
from rm.domain.limits import ANNOUNCE_PER_ADDRESS, CLAIM_PER_ADDRESS
from rm.domain.permissions import AGENT, allows
from rm.errors import NotFound, Unauthorised
from rm.runtime import runtime
from rm.services import pending_hosts
from rm.services.enrolments import Applicant
from rm.services.pending_hosts import Undecided
from rm.shared import instants
from rm.shared.fields import Text

announcing = Blueprint("announcing", __name__, url_prefix="/agent/announce")

_HELP = "The agent makes this request itself: rm-agent announce --server URL."


@announcing.post("")
@allows(AGENT)
def announce() -> tuple[dict[str, Any], int]:
    """Put a host among those that wait for a person."""
    parts = runtime()
    now = parts.clock()
    address = request.remote_addr or ""
    parts.limits.take("announce", address, ANNOUNCE_PER_ADDRESS, now)
    body = bodies.checked(dict(bodies.APPLICANT) | {"public_key": Text(100)}, help=_HELP)
    public_key = body.pop("public_key")
    found = pending_hosts.announce(
        parts.bus, applicant=Applicant(**body), public_key=public_key, address=address, now=now
    )
    return {
        "pending_id": found.id,
        "fingerprint": found.fingerprint,
        "nonce": found.nonce,
        "expires_at": instants.to_text(found.expires_at),
    }, 202


@announcing.post("/<pending_id>/claim")
@allows(AGENT)
def claim(pending_id: str) -> tuple[dict[str, Any], int]:
    """The credential of a host that was approved and signs for it; 202 while nobody has decided."""
    parts = runtime()
    now = parts.clock()
    address = request.remote_addr or ""
    parts.limits.check("claim", address, CLAIM_PER_ADDRESS, now)
    body = bodies.checked({"signature": Text(200)}, help=_HELP)
    try:
        outcome = pending_hosts.claim(
            parts.bus,
            pending_id=pending_id,
            signature=body["signature"],
            base_url=parts.settings.base_url,
            seen_urls=_seen_urls(),
            address=address,
            now=now,
        )
    except (NotFound, Unauthorised):
        # Only wrong ones count: many hosts behind one address may wait together.
        parts.limits.count("claim", address, CLAIM_PER_ADDRESS, now)
        raise
    if isinstance(outcome, Undecided):
        return {"retry_after_seconds": outcome.retry_after_seconds}, 202
    return bodies.admission(outcome), 201


def _seen_urls() -> tuple[str, ...]:
    """Under which addresses this request may have been dialled, as far as its own headers tell."""
    host = request.host[:300]
    return (f"https://{host}", f"http://{host}")
