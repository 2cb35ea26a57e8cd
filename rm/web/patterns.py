"""The pattern page: every component with every variant, on invented data."""

from datetime import datetime, timedelta

from flask import Blueprint, Response

from rm.domain.permissions import allows
from rm.store.models import Host, UpdateAttempt
from rm.web import context, update_words
from rm.web.layout import page
from rm.web.update_advice import Fix
from rm.web.update_view import Card, Event, Standing

blueprint = Blueprint("patterns", __name__)


@blueprint.get("/patterns")
@allows("fleet.view")
def index() -> Response:
    """Every component with every variant."""
    now = context.now()
    return page(
        "patterns/index.html", section="", soon=now + timedelta(minutes=12), past=now - timedelta(hours=3),
        phases=("Download", "Verify", "Self-test", "Swap", "Restart", "Hello", "Soak"), cards=cards(now),
    )  # fmt: skip


def cards(now: datetime) -> list[Card]:
    """The update card of a host that is behind, that moves, and that refused."""
    host = Host(id="invented", name="web-3", agent_version="1.4.0")
    common = {
        "job_id": "invented", "host_id": host.id, "from_version": "1.4.0", "to_version": "1.5.0",
        "created_at": now - timedelta(minutes=2), "phase_since": now - timedelta(seconds=20), "timers": {},
        "deadline_at": now + timedelta(seconds=70), "not_after": now + timedelta(hours=20),
    }  # fmt: skip
    moving = UpdateAttempt(**common, state="running", phase="downloading", percent=41.0, detail="1.2 of 2.9 MiB")
    refused = UpdateAttempt(
        **common, state="refused", phase="preflight", reason="no_space", failure_class="host", ended_at=now,
        message="web-3 refused 1.5.0 and runs 1.4.0 as before. 12 MiB are free, 68 MiB are needed.",
    )  # fmt: skip
    behind = Standing("up", "Behind", "web-3 goes from 1.4.0 to 1.5.0.")
    hint = "The host checks the signature itself."
    old_and_new = {"old": "1.4.0", "new": "1.5.0", "is_shown": True, "is_job_page": True}
    return [
        Card(host, mark="-1", standing=behind, look="live", hint=hint, **old_and_new),
        Card(
            host, mark="-2", attempt=moving, look="live", steps=update_words.steps(moving),
            line=update_words.state_line(moving, host, is_online=True),
            events=(Event(now, "running", "web-3: downloading."), Event(now, "queue", "mara ordered it.")),
            **old_and_new,
        ),
        Card(
            host, mark="-3", attempt=refused, look="warning", steps=update_words.steps(refused),
            result=update_words.result(refused, host), labels=tuple(update_words.labels(refused)),
            fix=Fix("Free space there, then update again.", "df -h /usr/local/lib/restic-manager"), **old_and_new,
        ),
    ]  # fmt: skip
