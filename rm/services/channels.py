"""Channels: where notifications go, with sealed URLs and secrets."""

import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from rm.domain.actors import Actor
from rm.errors import Conflict
from rm.events import DeliveriesChanged, EventBus
from rm.services import alerts, audit, sending
from rm.services.channel_forms import ChannelForm, check, shown_url
from rm.services.deliveries import FAILING, condition
from rm.shared.ids import new_ulid
from rm.shared.instants import to_text
from rm.store import channels
from rm.store.database import changes, publish_after_commit
from rm.store.models import Channel, Delivery
from rm.store.vault import Vault


def create(bus: EventBus, vault: Vault, *, form: ChannelForm, actor: Actor, now: datetime) -> tuple[Channel, str]:
    """A new channel, and the secret that a webhook is signed with: it is told this once. Raises Invalid."""
    check(form, None)
    shown = shown_url(form)
    channel_id = new_ulid()
    secret = _new_secret() if form.kind == "webhook" else ""
    with changes():
        check(form, None)
        Channel.create(
            id=channel_id, kind=form.kind, created_at=now, changed_at=now, url_shown=shown,
            url_sealed=vault.seal(form.url.strip(), place=sending.url_place(channel_id)),
            secret_sealed=vault.seal(secret, place=sending.secret_place(channel_id)) if secret else None,
            **form.plain(),
        )  # fmt: skip
        audit.record(
            actor, "channel.created", now=now, kind="channel", id=channel_id, name=form.name.strip(),
            after=_told(form.plain() | {"kind": form.kind, "url": shown}),
        )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel_id))
        return channels.get(channel_id), secret


def change(bus: EventBus, vault: Vault, *, channel_id: str, form: ChannelForm, actor: Actor, now: datetime) -> Channel:
    """Change a channel; a blank URL keeps the stored one. Switched off, it forgets what waits. Raises Invalid."""
    existing = channels.get(channel_id)
    form = replace(form, kind=existing.kind)
    check(form, existing)
    shown = shown_url(form)
    with changes():
        existing = channels.get(channel_id)
        check(form, existing)
        before, after = _columns(existing), form.plain() | {"url": shown or existing.url_shown}
        sealed: dict[str, Any] = {}
        if shown:
            sealed = {
                "url_shown": shown,
                "url_sealed": vault.seal(form.url.strip(), place=sending.url_place(channel_id)),
                "paused_until": None,
            }
        Channel.update(changed_at=now, **form.plain(), **sealed).where(Channel.id == channel_id).execute()
        if existing.is_enabled and not form.is_enabled:
            _drop_waiting(channel_id, now)
            _say_no_more(bus, existing, f"{existing.name} was switched off.", now)
        audit.record(
            actor, "channel.changed", now=now, kind="channel", id=channel_id, name=form.name.strip(),
            before=_told(before, but=after), after=_told(after, but=before), url_replaced=bool(shown),
        )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel_id))
        return channels.get(channel_id)


def replace_secret(bus: EventBus, vault: Vault, *, channel_id: str, actor: Actor, now: datetime) -> str:
    """A new secret for a webhook, told this once; the old one is over. Raises Conflict for other channels."""
    with changes():
        found = channels.get(channel_id)
        if found.kind != "webhook":
            raise Conflict("Only a JSON webhook has a secret.", code="no_secret")
        secret = _new_secret()
        Channel.update(
            changed_at=now, secret_sealed=vault.seal(secret, place=sending.secret_place(channel_id))
        ).where(Channel.id == channel_id).execute()  # fmt: skip
        audit.record(actor, "channel.secret_replaced", now=now, kind="channel", id=channel_id, name=found.name)
        publish_after_commit(bus, DeliveriesChanged(channel_id))
        return secret


def remove(bus: EventBus, *, channel_id: str, actor: Actor, now: datetime) -> None:
    """Remove a channel with its delivery log; what waits is not sent."""
    with changes():
        found = channels.get(channel_id)
        _say_no_more(bus, found, f"{found.name} was removed.", now)
        Delivery.delete().where(Delivery.channel == channel_id).execute()
        found.delete_instance()
        audit.record(
            actor, "channel.removed", now=now, kind="channel", id=channel_id, name=found.name,
            before=_told(_columns(found)),
        )  # fmt: skip
        publish_after_commit(bus, DeliveriesChanged(channel_id))


def keep_test(
    bus: EventBus, *, channel_id: str, delivery_id: str, is_ok: bool, reason: str, actor: Actor, now: datetime
) -> Delivery:
    """Keep how a test went, in the channel's log; one that arrived is a sign of health like any delivery."""
    with changes():
        found = channels.get(channel_id)
        Delivery.create(
            id=delivery_id, channel=channel_id, event="test", payload={"at": to_text(now), "actor": actor.name},
            state="sent" if is_ok else "given_up", tries=1, created_at=now, ended_at=now, reason=reason,
        )  # fmt: skip
        if is_ok:
            Channel.update(last_ok_at=now, failing_since=None, failures=0, paused_until=None).where(
                Channel.id == channel_id
            ).execute()
            _say_no_more(bus, found, f"A test through {found.name} arrived.", now)
        audit.record(
            actor, "channel.tested", now=now, kind="channel", id=channel_id, name=found.name, is_ok=is_ok, reason=reason
        )
        publish_after_commit(bus, DeliveriesChanged(channel_id))
        return Delivery.get_by_id(delivery_id)


def _say_no_more(bus: EventBus, channel: Channel, note: str, now: datetime) -> None:
    alerts.clear(bus, kind=FAILING, condition=condition(channel.id), note=note, now=now)


def _drop_waiting(channel_id: str, now: datetime) -> None:
    Delivery.update(state="dropped", ended_at=now, next_try_at=None, reason="The channel was switched off.").where(
        Delivery.channel == channel_id, Delivery.state == "queued"
    ).execute()
    Channel.update(failing_since=None, failures=0, paused_until=None).where(Channel.id == channel_id).execute()


def _columns(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name, "is_enabled": channel.is_enabled, "min_severity": channel.min_severity,
        "kinds": channel.kinds, "tags": channel.tags, "tells_acknowledged": channel.tells_acknowledged,
        "tells_resolved": channel.tells_resolved, "url": channel.url_shown,
    }  # fmt: skip


def _told(values: dict[str, Any], *, but: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the audit keeps: of a change only what differs."""
    return {key: value for key, value in values.items() if but is None or value != but.get(key)}


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"
