"""The pattern page: every component with every variant, on invented data."""

from datetime import timedelta

from flask import Blueprint, Response

from rm.domain.permissions import allows
from rm.web import context
from rm.web.layout import page

blueprint = Blueprint("patterns", __name__)


@blueprint.get("/patterns")
@allows("fleet.view")
def index() -> Response:
    """Every component with every variant."""
    now = context.now()
    return page(
        "patterns/index.html", section="", soon=now + timedelta(minutes=12), past=now - timedelta(hours=3),
        phases=("Download", "Verify", "Self-test", "Swap", "Restart", "Hello", "Soak"),
    )  # fmt: skip
