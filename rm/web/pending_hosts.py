"""Announced hosts: comparing fingerprints, and letting a host in or not."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import pending_hosts as service
from rm.shared import ed25519
from rm.store import pending_hosts
from rm.web import context, pending_view
from rm.web.layout import go, page

blueprint = Blueprint("pending_hosts", __name__)


@blueprint.app_template_filter("fingerprint_groups")
def fingerprint_groups(text: str) -> list[str]:
    """A fingerprint in groups of four."""
    return ed25519.fingerprint_groups(text)


@blueprint.get("/pending-hosts")
@allows("fleet.view")
def index() -> Response:
    """Those that wait, and what became of the others."""
    at = context.page_number()
    return page(
        "pending_hosts/list.html", section="fleet", live_url=f"/live/pending-hosts?page={at}",
        is_enabled=pending_hosts.is_announcing_enabled(), **pending_view.list_values(page=at, now=context.now()),
    )  # fmt: skip


@blueprint.get("/pending-hosts/<pending_id>")
@allows("fleet.view")
def show(pending_id: str) -> Response:
    """One announced host: compare, then decide."""
    user = context.user()
    values = pending_view.values(pending_id, role=user.role if user else "", now=context.now())
    return page("pending_hosts/show.html", section="fleet", live_url=f"/live/pending-hosts/{pending_id}", **values)


@blueprint.post("/pending-hosts/<pending_id>/approve")
@allows("hosts.approve")
def approve(pending_id: str) -> AnyResponse:
    """Let it in."""
    service.approve(runtime().bus, pending_id=pending_id, actor=context.actor(), now=context.now())
    return go(f"/pending-hosts/{pending_id}", "pending_approved")


@blueprint.post("/pending-hosts/<pending_id>/reject")
@allows("hosts.approve")
def reject(pending_id: str) -> AnyResponse:
    """Keep it out."""
    service.reject(runtime().bus, pending_id=pending_id, actor=context.actor(), now=context.now())
    return go(f"/pending-hosts/{pending_id}", "pending_rejected")


@blueprint.post("/pending-hosts/announcing")
@allows("hosts.approve")
def switch() -> AnyResponse:
    """Let hosts announce themselves, or not."""
    is_enabled = request.form.get("announcing") == "on"
    service.set_announcing(runtime().bus, is_enabled=is_enabled, actor=context.actor(), now=context.now())
    return go("/pending-hosts", "announcing_on" if is_enabled else "announcing_off")
