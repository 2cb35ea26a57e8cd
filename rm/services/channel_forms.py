"""What people type of a channel, and what is wrong with it."""

from dataclasses import dataclass, field
from typing import Any

from rm.domain.alerts import KINDS
from rm.errors import Conflict, Invalid
from rm.notifiers import apprise, outgoing
from rm.store import channels
from rm.store.models import Channel

MOST_CHANNELS = 100
MOST_TAGS = 50
CHANNEL_KINDS = ("apprise", "webhook")


@dataclass(frozen=True)
class ChannelForm:
    """What a person types; a blank URL keeps the stored one. The kind stays what it was when the channel was made."""

    name: str
    kind: str = "apprise"
    url: str = ""
    is_enabled: bool = True
    min_severity: str = "warning"
    kinds: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    tells_acknowledged: bool = True
    tells_resolved: bool = True

    def plain(self) -> dict[str, Any]:
        """The columns that hold no secret."""
        return {
            "name": self.name.strip(), "is_enabled": self.is_enabled, "min_severity": self.min_severity,
            "kinds": sorted(set(self.kinds)), "tags": tidy_tags(self.tags),
            "tells_acknowledged": self.tells_acknowledged, "tells_resolved": self.tells_resolved,
        }  # fmt: skip


def tidy_tags(tags: list[str]) -> list[str]:
    return sorted({tag.strip() for tag in tags if tag.strip()})


def shown_url(form: ChannelForm) -> str:
    """What may be shown of the URL; empty for a blank one. Takes up to seconds: no transaction. Raises Invalid."""
    url = form.url.strip()
    if not url:
        return ""
    if form.kind == "webhook":
        problem = outgoing.url_problem(url)
        if problem:
            raise Invalid({"url": problem})
        return outgoing.shown(url)
    reading = apprise.read(url)
    if reading.problem:
        raise Invalid({"url": reading.problem})
    return reading.shown


def check(form: ChannelForm, existing: Channel | None) -> None:
    """Raises Invalid for what could not be used, or Conflict when there are too many; names each field."""
    wrong = {}
    name = form.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        wrong["name"] = "Use 1 to 100 printable characters."
    other = channels.find_by_name(name)
    if other is not None and (existing is None or other.id != existing.id):
        wrong["name"] = "Another channel has this name already."
    if form.kind not in CHANNEL_KINDS:
        wrong["kind"] = "Choose one of the two."
    if existing is None and not form.url.strip():
        wrong["url"] = "Say where messages are to go."
    if form.min_severity not in ("warning", "critical"):
        wrong["min_severity"] = "Choose one of the two."
    if not set(form.kinds) <= set(KINDS):
        wrong["kinds"] = "There is no such kind of alert."
    tags = tidy_tags(form.tags)
    if len(tags) > MOST_TAGS or any(len(tag) > 100 or not tag.isprintable() for tag in tags):
        wrong["tags"] = f"Use at most {MOST_TAGS} tags of at most 100 printable characters."
    if wrong:
        raise Invalid(wrong)
    if existing is None and channels.count() >= MOST_CHANNELS:
        raise Conflict(f"There are {MOST_CHANNELS} channels already.", code="too_many_channels")
