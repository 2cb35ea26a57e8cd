"""A host's credential: renewing it over its connection, and enrolling a host again as itself."""

from flask import Blueprint, Response
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import credentials, enrolments
from rm.store import hosts
from rm.web import context
from rm.web.enrolments import show_once
from rm.web.layout import go, page

blueprint = Blueprint("credentials", __name__)

REENROL_POINTS = (
    "You get a line for the machine, good for one hour and one use.",
    "The moment it is used, the old credential ends: whoever holds it is cut off.",
    "Jobs, logs, repository, sources and tags stay as they are.",
)


@blueprint.post("/hosts/<host_id>/renew-credential")
@allows("hosts.renew")
def renew(host_id: str) -> AnyResponse:
    """Hand the host a new credential over its connection, now or when it is back."""
    parts = runtime()
    credentials.renew(parts.bus, parts.vault, host_id=host_id, actor=context.actor(), now=context.now())
    return go(f"/hosts/{host_id}/settings", "credential_renewed")


@blueprint.get("/hosts/<host_id>/re-enrol")
@allows("hosts.reenrol")
def ask_reenrol(host_id: str) -> Response:
    """What enrolling a host again does."""
    host = hosts.get(host_id)
    return page(
        "shared/confirm.html", section="fleet", title=f"Enrol {host.name} again", action=f"/hosts/{host_id}/re-enrol",
        verb="Make the line", points=REENROL_POINTS, typed="", error="", back=f"/hosts/{host_id}/settings",
    )  # fmt: skip


@blueprint.post("/hosts/<host_id>/re-enrol")
@allows("hosts.reenrol")
def reenrol(host_id: str) -> AnyResponse:
    """Make a token for this one host and go to the page that shows it once and waits."""
    token, plain = enrolments.mint_token(
        runtime().bus, actor=context.actor(), now=context.now(), host_id=hosts.get(host_id).id
    )
    return show_once(token.id, plain)
