"""What a retention would do to the snapshots that are there now, as the last listing told them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rm.domain import retention as rules
from rm.domain.retention import Policy, Taken
from rm.errors import Invalid
from rm.shared.schedule import zone_named
from rm.shared.words import counted
from rm.store import snapshots
from rm.store.models import Host, Snapshot, SnapshotListing
from rm.store.snapshots import Wanted

STALE_AFTER = timedelta(hours=26)
MOST_SNAPSHOTS = 20_000


@dataclass(frozen=True)
class Fate:
    """A snapshot and what becomes of it; `reasons` are the rules that keep it, none when it goes."""

    snapshot: Snapshot
    reasons: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True)
class Preview:
    """What would stay and go now, newest first; `problem` is a sentence when the retention is none.

    `listing` is the list that this is read from, None when there is none; `is_stale` says that it is older than the
    host's last good backup, or than a day.
    """

    fates: list[Fate]
    words: str
    problem: str = ""
    listing: SnapshotListing | None = None
    is_stale: bool = False

    @property
    def kept(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.is_kept]

    @property
    def removed(self) -> list[Fate]:
        return [fate for fate in self.fates if not fate.is_kept]

    @property
    def added_bytes_removed(self) -> int | None:
        """What the snapshots that go had added when they were made; None unless it is known of each of them."""
        sizes = [fate.snapshot.data_added for fate in self.removed]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


def preview(*, host: Host, group_name: str, retention: dict[str, Any], now: datetime) -> Preview:
    """What this retention would keep and remove of the group's snapshots."""
    problem = rules.problem(retention)
    if problem is not None:
        return Preview(fates=[], words="", problem=problem)
    policy = Policy.of(retention)
    found = _snapshots_of(host, group_name)
    answer = rules.apply(
        policy,
        [Taken(one.id, one.time, one.utc_offset_minutes) for one in found],
        now=now,
        zone=zone_named(host.timezone),
        restic=_version(host.restic_version),
    )
    reasons = {kept.id: kept.reasons for kept in answer.kept}
    listing = snapshots.listing(host.repository_id) if host.repository_id else None
    return Preview(
        fates=[Fate(one, reasons.get(one.id, ())) for one in found],
        words=rules.describe(policy),
        listing=listing,
        is_stale=listing is not None and _is_stale(listing, host, now),
    )


def needs_confirmation(
    *, host: Host, group_name: str, before: dict[str, Any], retention: dict[str, Any], now: datetime
) -> str | None:
    """Why saving this retention wants the group's name typed, in a sentence; None when it does not."""
    if rules.problem(retention) is not None or rules.normal(retention) == rules.normal(before):
        return None
    shown = preview(host=host, group_name=group_name, retention=retention, now=now)
    gone, total = len(shown.removed), len(shown.fates)
    if gone * 2 <= total:
        return None
    return f"This would remove {gone:,} of {counted(total, 'snapshot')}. Type {group_name} exactly if you mean it."


def confirm(
    *, host: Host, group_name: str, before: dict[str, Any], retention: dict[str, Any], typed_name: str, now: datetime
) -> None:
    """Raise Invalid for typed_name unless the change is small or the group's name was typed."""
    why = needs_confirmation(host=host, group_name=group_name, before=before, retention=retention, now=now)
    if why is not None and typed_name.strip() != group_name:
        raise Invalid({"typed_name": why})


def _snapshots_of(host: Host, group_name: str) -> list[Snapshot]:
    if not host.repository_id or not group_name:
        return []
    wanted = Wanted(host.repository_id, hostname=host.hostname, tag=group_name)
    return snapshots.list_page(wanted, limit=MOST_SNAPSHOTS)[0]


def _is_stale(listing: SnapshotListing, host: Host, now: datetime) -> bool:
    is_before_backup = host.last_good_at is not None and listing.taken_at < host.last_good_at
    return is_before_backup or now - listing.taken_at > STALE_AFTER


def _version(text: str | None) -> tuple[int, int]:
    parts = (text or "").split(".")
    if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit():
        return int(parts[0]), int(parts[1])
    return rules.NEWEST_RESTIC
