"""Where notifications go, for programs: channels, what went through them, and the sign of life."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import operation
from rm.api.shapes import OFFSET, TEXT, one_of, page_of, record, ref, whole
from rm.domain.notices import Notice
from rm.domain.permissions import allows
from rm.runtime import runtime
from rm.services import channels as service
from rm.services import dead_man, delivery_tries, general_settings, sending
from rm.services.channel_forms import CHANNEL_KINDS, ChannelForm
from rm.shared.ids import new_ulid
from rm.store import channels, deliveries
from rm.store.models import Channel, Delivery

routes = Blueprint("api_channels", __name__, url_prefix="/api/v1")

MAX_PAGE = 200
_TEXTS = ("name", "url", "min_severity")
_LISTS = ("kinds", "tags")
_FLAGS = ("is_enabled", "tells_acknowledged", "tells_resolved")


@routes.get("/channels")
@allows("channels.manage")
@operation({200: page_of("Channel")})
def index() -> dict[str, Any]:
    """Every channel; its URL is shown without what is secret in it."""
    return {"items": [_document(found) for found in channels.list_all()], "next": None}


@routes.post("/channels")
@allows("channels.manage")
@operation({201: ref("ChannelMade")}, body=ref("NewChannel"), waits=True, fails_clean=True)
def create() -> tuple[dict[str, Any], int]:
    """Keep a channel; a webhook's secret is told this once."""
    parts, body = runtime(), documents.body()
    caller.spend_call()
    form = _form(body, ChannelForm(name="", kind=documents.text(body, "kind", CHANNEL_KINDS[0])))
    made, secret = service.create(parts.bus, parts.vault, form=form, actor=caller.actor(), now=parts.clock())
    return _document(made) | {"secret": secret or None}, 201


@routes.get("/channels/<channel_id>")
@allows("channels.manage")
@operation({200: ref("Channel")})
def show(channel_id: str) -> dict[str, Any]:
    """One channel and how it stands."""
    return _document(channels.get(channel_id))


@routes.put("/channels/<channel_id>")
@allows("channels.manage")
@operation({200: ref("Channel")}, body=ref("ChannelForm"))
def change(channel_id: str) -> dict[str, Any]:
    """Change a channel; what the body does not name stays as it is."""
    parts, found = runtime(), channels.get(channel_id)
    caller.spend_call()
    base = ChannelForm(
        name=found.name, kind=found.kind, is_enabled=found.is_enabled, min_severity=found.min_severity,
        kinds=found.kinds, tags=found.tags, tells_acknowledged=found.tells_acknowledged,
        tells_resolved=found.tells_resolved,
    )  # fmt: skip
    form = _form(documents.body(), base)
    changed = service.change(
        parts.bus, parts.vault, channel_id=channel_id, form=form, actor=caller.actor(), now=parts.clock()
    )
    return _document(changed)


@routes.delete("/channels/<channel_id>")
@allows("channels.manage")
@operation({204: ""})
def remove(channel_id: str) -> tuple[str, int]:
    """Forget a channel with its delivery log; what waits is not sent."""
    parts = runtime()
    service.remove(parts.bus, channel_id=channel_id, actor=caller.actor(), now=parts.clock())
    return "", 204


@routes.post("/channels/<channel_id>/secret")
@allows("channels.manage")
@operation({200: record("*", secret=TEXT)})
def replace_secret(channel_id: str) -> dict[str, Any]:
    """Give a webhook a new secret, told this once."""
    parts = runtime()
    secret = service.replace_secret(
        parts.bus, parts.vault, channel_id=channel_id, actor=caller.actor(), now=parts.clock()
    )
    return {"secret": secret}


@routes.post("/channels/<channel_id>/test")
@allows("channels.manage")
@operation({200: ref("Delivery")}, waits=True)
def test(channel_id: str) -> dict[str, Any]:
    """Send a test now and wait for how it went."""
    parts, found = runtime(), channels.get(channel_id)
    caller.spend_call()
    delivery_id, now = new_ulid(), parts.clock()
    link = f"{parts.settings.base_url}/settings/notifications/{channel_id}"
    notice = Notice(
        event="test", severity="warning", title="Test", at=now, link=link,
        server=general_settings.current().shown_name,
    )  # fmt: skip
    outcome = sending.send(parts.vault, channel=found, delivery_id=delivery_id, notice=notice, now=now)
    kept = service.keep_test(
        parts.bus, channel_id=channel_id, delivery_id=delivery_id, is_ok=outcome.is_ok, reason=outcome.reason,
        actor=caller.actor(), now=parts.clock(),
    )  # fmt: skip
    return _delivery(deliveries.get(kept.id))


@routes.get("/deliveries")
@allows("channels.manage")
@operation(
    {200: page_of("Delivery")},
    query={
        "channel_id": TEXT, "incident_id": TEXT, "state": one_of("", "queued", "sent", "given_up", "dropped"),
        "limit": whole(1, MAX_PAGE), "offset": OFFSET,
    },
)  # fmt: skip
def list_deliveries() -> dict[str, Any]:
    """One page of what was sent or is to be sent, the newest first; `next` is the offset to go on with, or null."""
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    found = deliveries.list_page(
        channel_id=request.args.get("channel_id") or None, incident_id=request.args.get("incident_id") or None,
        state=request.args.get("state", ""), limit=limit + 1, offset=offset,
    )  # fmt: skip
    return {
        "items": [_delivery(one) for one in found[:limit]],
        "next": offset + limit if len(found) > limit else None,
    }


@routes.post("/deliveries/<delivery_id>/retry")
@allows("channels.manage")
@operation({200: ref("Delivery")})
def retry(delivery_id: str) -> dict[str, Any]:
    """Try a delivery again at once, also one that was given up."""
    parts = runtime()
    caller.spend_call()
    found = delivery_tries.retry_now(parts.bus, delivery_id=delivery_id, actor=caller.actor(), now=parts.clock())
    return _delivery(found)


@routes.get("/sign-of-life")
@allows("channels.manage")
@operation({200: ref("SignOfLife")})
def sign_of_life() -> dict[str, Any]:
    """Where this server's own sign of life goes, and how the last one went."""
    found = dead_man.read()
    return {
        "url_shown": found.url_shown or None,
        "minutes": found.minutes,
        "last_at": documents.instant(found.last_at),
        "last_ok": found.last_ok if found.last_at else None,
        "last_reason": found.last_reason,
    }


@routes.put("/sign-of-life")
@allows("channels.manage")
@operation({200: ref("SignOfLife")}, body=ref("SignOfLifeForm"))
def set_sign_of_life() -> dict[str, Any]:
    """Set where it goes and how often; a blank URL keeps the stored one."""
    parts, body = runtime(), documents.body()
    minutes = documents.whole(body, "minutes", dead_man.read().minutes)
    dead_man.save(
        parts.vault, url=documents.text(body, "url", ""), minutes=str(minutes), actor=caller.actor(), now=parts.clock()
    )
    return sign_of_life()


@routes.delete("/sign-of-life")
@allows("channels.manage")
@operation({204: ""})
def remove_sign_of_life() -> tuple[str, int]:
    """Send none any more."""
    dead_man.remove(actor=caller.actor(), now=runtime().clock())
    return "", 204


@routes.post("/sign-of-life/ping")
@allows("channels.manage")
@operation({200: ref("SignOfLife")}, waits=True)
def ping_sign_of_life() -> dict[str, Any]:
    """Send one now and wait for how it went."""
    parts = runtime()
    caller.spend_call()
    dead_man.ping_now(parts.vault, actor=caller.actor(), clock=parts.clock)
    return sign_of_life()


def _form(body: dict[str, Any], base: ChannelForm) -> ChannelForm:
    found: dict[str, Any] = {name: documents.text(body, name) for name in _TEXTS if name in body}
    found |= {name: documents.texts(body, name) for name in _LISTS if name in body}
    found |= {name: documents.flag(body, name, True) for name in _FLAGS if name in body}
    return replace(base, **found)


def _document(found: Channel) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "kind": found.kind,
        "url_shown": found.url_shown,
        "is_enabled": found.is_enabled,
        "min_severity": found.min_severity,
        "kinds": found.kinds,
        "tags": found.tags,
        "tells_acknowledged": found.tells_acknowledged,
        "tells_resolved": found.tells_resolved,
        "created_at": documents.instant(found.created_at),
        "changed_at": documents.instant(found.changed_at),
        "last_ok_at": documents.instant(found.last_ok_at),
        "failing_since": documents.instant(found.failing_since),
        "failures": found.failures,
    }


def _delivery(found: Delivery) -> dict[str, Any]:
    return {
        "id": found.id,
        "channel_id": found.channel_id,
        "incident_id": found.incident_id,
        "event": found.event,
        "state": found.state,
        "tries": found.tries,
        "reason": found.reason,
        "created_at": documents.instant(found.created_at),
        "next_try_at": documents.instant(found.next_try_at),
        "ended_at": documents.instant(found.ended_at),
    }
