"""Named queries about hosts that announced themselves."""

from dataclasses import dataclass
from datetime import datetime

from peewee import ModelSelect, fn

from rm.errors import NotFound
from rm.store.models import Host, PendingHost, Setting

ANNOUNCING = "announcing"


@dataclass(frozen=True)
class Resemblance:
    """What an announced host has in common with others; `machine` only looks alike, it is never an identity."""

    hosts: tuple[Host, ...]
    pending: tuple[PendingHost, ...]
    machine: Host | None

    @property
    def is_any(self) -> bool:
        return bool(self.hosts or self.pending or self.machine)


def get(pending_id: str) -> PendingHost:
    """The announced host; raises NotFound."""
    found = PendingHost.get_or_none(PendingHost.id == pending_id)
    if found is None:
        raise NotFound(
            "There is no such announced host.", help="It may have lapsed long ago. Run rm-agent announce there again."
        )
    return found


def waiting(now: datetime) -> list[PendingHost]:
    """Those that wait for a person, the oldest first."""
    return list(_waiting(now).order_by(PendingHost.announced_at, PendingHost.id))


def count_waiting(now: datetime, *, address: str = "") -> int:
    """How many wait, in all or from one address."""
    return int(_from(_waiting(now), address).count())


def next_expiry(now: datetime, *, address: str = "") -> datetime | None:
    """When the first of those that wait lapses, of all or of those from one address."""
    first = _from(_waiting(now), address).order_by(PendingHost.expires_at).first()
    return first.expires_at if first else None


def find_waiting(public_key: str, *, now: datetime) -> list[PendingHost]:
    """Those that wait with this key."""
    return list(_waiting(now).where(PendingHost.public_key == public_key))


def list_page(*, now: datetime, limit: int, offset: int = 0) -> list[PendingHost]:
    """Those that wait first, then those that were decided or lapsed, the newest first."""
    is_over = (PendingHost.state != "waiting") | (PendingHost.expires_at <= now)
    order = (is_over, PendingHost.announced_at.desc(), PendingHost.id.desc())
    return list(PendingHost.select().order_by(*order).limit(limit).offset(offset))


def state(found: PendingHost, *, now: datetime) -> str:
    """waiting, approved, claimed, rejected, or lapsed."""
    if found.claimed_at is not None:
        return "claimed"
    is_lapsed = found.state != "rejected" and found.expires_at <= now
    return "lapsed" if is_lapsed else str(found.state)


def resemblance(found: PendingHost, *, now: datetime) -> Resemblance:
    """Who else has this hostname or machine: an admin must know before they approve."""
    name = found.hostname.lower()
    hosts = Host.select().where(
        (fn.LOWER(Host.name) == name) | (fn.LOWER(Host.hostname) == name), Host.id != (found.host_id or "")
    )
    others = _waiting(now).where(fn.LOWER(PendingHost.hostname) == name, PendingHost.id != found.id).limit(3)
    machine = None
    if found.machine_id:
        alike = Host.select().where(Host.machine_id == found.machine_id, Host.id != (found.host_id or ""))
        machine = alike.order_by(Host.revoked_at.is_null(False), Host.enrolled_at.desc()).first()
    return Resemblance(tuple(hosts.order_by(Host.name).limit(3)), tuple(others), machine)


def _waiting(now: datetime) -> ModelSelect:
    return PendingHost.select().where(PendingHost.state == "waiting", PendingHost.expires_at > now)


def is_announcing_enabled() -> bool:
    """Whether hosts may announce themselves; yes, unless an administrator switched it off."""
    found = Setting.get_or_none(Setting.name == ANNOUNCING)
    return found is None or found.value != "off"


def _from(query: ModelSelect, address: str) -> ModelSelect:
    return query.where(PendingHost.address == address) if address else query
