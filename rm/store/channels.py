"""Named queries about channels."""

from rm.errors import NotFound
from rm.store.models import Channel


def get(channel_id: str) -> Channel:
    """The channel; raises NotFound."""
    found = Channel.get_or_none(Channel.id == channel_id)
    if found is None:
        raise NotFound("There is no such channel.", help="Settings → Notifications lists them all.")
    return found


def find_by_name(name: str) -> Channel | None:
    return Channel.get_or_none(Channel.name == name)


def list_all() -> list[Channel]:
    """Every channel by name; there are few."""
    return list(Channel.select().order_by(Channel.name))


def list_enabled() -> list[Channel]:
    return list(Channel.select().where(Channel.is_enabled).order_by(Channel.id))


def count() -> int:
    return Channel.select().count()
