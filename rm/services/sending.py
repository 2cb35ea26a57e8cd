"""One delivery through one channel: what is sent, and how it went."""

import json
from datetime import datetime

from rm.domain import notices
from rm.domain.notices import Notice
from rm.notifiers import apprise, webhook
from rm.notifiers.outcome import Outcome, failed
from rm.store.models import Channel
from rm.store.vault import UnsealError, Vault


def send(vault: Vault, *, channel: Channel, delivery_id: str, notice: Notice, now: datetime) -> Outcome:
    """Send and say how it went. It takes as long as the other side, up to a limit: no transaction, no connection."""
    try:
        url = vault.unseal(channel.url_sealed, place=url_place(channel.id))
        if channel.kind == "webhook":
            secret = vault.unseal(channel.secret_sealed or b"", place=secret_place(channel.id))
            body = json.dumps(notices.as_json(notice, delivery_id=delivery_id), ensure_ascii=False).encode()
            return webhook.send(
                url, secret=secret, delivery_id=delivery_id, event=notice.event, timestamp=int(now.timestamp()),
                body=body,
            )  # fmt: skip
    except UnsealError:
        return failed("its stored URL or secret cannot be opened with this server's key file; enter it again")
    return apprise.send(
        url, title=notices.subject(notice), body=notices.text(notice), kind=notices.apprise_kind(notice)
    )  # fmt: skip


def url_place(channel_id: str) -> str:
    return f"channels.url:{channel_id}"


def secret_place(channel_id: str) -> str:
    return f"channels.secret:{channel_id}"
