"""What the pages about notifications show."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from rm.domain.alerts import KINDS
from rm.services import dead_man
from rm.services.channel_forms import ChannelForm
from rm.shared.words import counted
from rm.store import channels, deliveries
from rm.store.models import Channel, Delivery

PATH = "/settings/notifications"
PAGE_SIZE = 50
EVENTS = {
    "raised": "Raised", "worsened": "Got worse", "acknowledged": "Acknowledged", "resolved": "Resolved", "test": "Test",
}  # fmt: skip
EXAMPLES = (
    ("Mail", "mailtos://user:password@mail.example.net?from=backups@example.net&to=ops@example.net"),
    ("ntfy", "ntfys://user:password@ntfy.example.net/backups"),
    ("Telegram", "tgram://bot-token/chat-id"),
    ("Slack", "slack://token-a/token-b/token-c/#backups"),
    ("Matrix", "matrixs://user:password@matrix.example.net/#backups"),
)


@dataclass(frozen=True)
class ChannelRow:
    """A channel with how it stands and what it hears, in words."""

    channel: Channel
    state: str
    word: str
    hears: str
    waiting: int


@dataclass(frozen=True)
class DeliveryRow:
    """A line of the log; `can_retry` while somebody may want it to be tried again."""

    delivery: Delivery
    event: str
    state: str
    word: str
    can_retry: bool


def list_values(now: datetime, *, ping: dict[str, str] | None = None, fields: dict[str, str] | None = None) -> Any:
    found = dead_man.read()
    return {
        "rows": [_row(channel) for channel in channels.list_all()],
        "dead_man": found,
        "ping": ping or {"ping_url": "", "minutes": str(found.minutes)},
        "fields": fields or {},
    }


def channel_values(channel: Channel, *, page: int) -> dict[str, Any]:
    offset = (page - 1) * PAGE_SIZE
    found = deliveries.list_page(channel_id=channel.id, limit=PAGE_SIZE + 1, offset=offset)
    path = f"{PATH}/{channel.id}"
    return {
        "row": _row(channel),
        "channel": channel,
        "log": [delivery_row(one, may_manage=True) for one in found[:PAGE_SIZE]],
        "pager": {
            "said": f"Page {page}" if found else "",
            "previous": f"{path}?{urlencode({'page': page - 1})}" if page > 1 else "",
            "previous_word": "Newer",
            "next": f"{path}?{urlencode({'page': page + 1})}" if len(found) > PAGE_SIZE else "",
            "next_word": "Older",
        },
    }


def incident_log(incident_id: str, *, may_manage: bool) -> list[DeliveryRow]:
    """Who was told of an incident, the newest first; for `channels/_log.html`."""
    found = deliveries.list_page(incident_id=incident_id, limit=PAGE_SIZE)
    return [delivery_row(one, may_manage=may_manage) for one in found]


def delivery_row(delivery: Delivery, *, may_manage: bool) -> DeliveryRow:
    if delivery.state == "queued":
        state, word = ("retry", "Retrying") if delivery.tries and delivery.reason else ("queue", "Waits")
    else:
        state, word = {
            "sent": ("ok", "Arrived"), "given_up": ("failed", "Given up"), "dropped": ("skip", "Not needed"),
        }[delivery.state]  # fmt: skip
    if delivery.event == "test" and delivery.state == "given_up":
        word = "Failed"
    is_open = delivery.event != "test" and delivery.state in ("queued", "given_up")
    can_retry = may_manage and is_open and delivery.channel.is_enabled
    return DeliveryRow(delivery, EVENTS.get(delivery.event, delivery.event), state, word, can_retry)


def form_values(form: ChannelForm | Channel) -> dict[str, Any]:
    """What goes back into the form: everything but the URL."""
    return {
        "name": form.name, "kind": form.kind, "is_enabled": form.is_enabled, "min_severity": form.min_severity,
        "kinds": form.kinds, "tags": ", ".join(tag.strip() for tag in form.tags),
        "tells_acknowledged": form.tells_acknowledged, "tells_resolved": form.tells_resolved,
    }  # fmt: skip


def alert_kinds() -> list[tuple[str, str]]:
    return [(key, kind.title) for key, kind in KINDS.items()]


def _row(channel: Channel) -> ChannelRow:
    waiting = deliveries.count_queued(channel.id)
    state, word = "waiting", "Nothing sent yet"
    if not channel.is_enabled:
        state, word = "skip", "Switched off"
    elif channel.failing_since is not None:
        state, word = "failed", "Failing"
    elif channel.last_ok_at is not None:
        state, word = "ok", "Works"
    return ChannelRow(channel, state, word, _hears(channel), waiting)


def _hears(channel: Channel) -> str:
    parts = ["Critical alerts" if channel.min_severity == "critical" else "All alerts"]
    if channel.kinds:
        titles = [KINDS[kind].title.lower() for kind in channel.kinds if kind in KINDS]
        parts = [f"{parts[0]}: {', '.join(titles)}" if len(titles) <= 3 else f"{parts[0]} of {len(titles)} kinds"]
    if channel.tags:
        tags = ", ".join(channel.tags[:3]) + (
            f" and {counted(len(channel.tags) - 3, 'more tag')}" if len(channel.tags) > 3 else ""
        )
        parts.append(f"on hosts tagged {tags}")
    quiet = [
        word for word, is_told in (
            ("acknowledgements", channel.tells_acknowledged), ("recoveries", channel.tells_resolved)
        ) if not is_told
    ]  # fmt: skip
    return " ".join(parts) + (f"; no {' and no '.join(quiet)}" if quiet else "")
