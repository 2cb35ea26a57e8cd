"""What a retention would do to the snapshots that are there now, as the last listing told them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from rm.domain import retention as rules
from rm.domain.retention import Policy, Taken
from rm.domain.snapshots import why_stale
from rm.errors import Invalid
from rm.shared.schedule import zone_named
from rm.shared.words import counted
from rm.store import snapshots, source_groups
from rm.store.models import Host, Snapshot, SnapshotListing, SourceGroup
from rm.store.snapshots import Wanted

MOST_SNAPSHOTS = 20_000
MOST_OF_MANY = 200_000
HOSTS_AT_ONCE = 100
LOOKED_AT_ONCE = 50
NOT_LISTED = (
    "nothing of it is forgotten before a fresh list of the snapshots shows what would go; each backup brings one, or"
    " press List again"
)


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


@dataclass(frozen=True)
class Question:
    """Whether this retention, instead of the one before, would remove much of a group of a host."""

    host: Host
    group_name: str
    before: dict[str, Any]
    retention: dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """Of many questions: the (host, group) that want the name typed, and the hosts that were too many to look at."""

    confirm: frozenset[tuple[str, str]]
    unseen: frozenset[str]


def need_confirmation(questions: Sequence[Question], *, now: datetime) -> Answers:
    """What needs_confirmation says of many groups at once, with few looks into the database."""
    most = MOST_OF_MANY
    asked: dict[str, list[Question]] = {}
    for one in questions:
        if rules.problem(one.retention) is None and rules.normal(one.retention) != rules.normal(one.before):
            asked.setdefault(one.host.id, []).append(one)
    confirm: set[tuple[str, str]] = set()
    unseen: set[str] = set()
    order = sorted(asked, key=lambda host_id: (asked[host_id][0].host.name, host_id))
    for start in range(0, len(order), HOSTS_AT_ONCE):
        part = order[start : start + HOSTS_AT_ONCE]
        rows = list(snapshots.taken_on_hosts(part, limit=most + 1)) if most > 0 else []
        if len(rows) > most or most == 0:
            # The list ends within this host: it and those after it were not seen whole.
            cut = part.index(rows[-1][0]) if rows else 0
            unseen.update(order[start + cut :])
            part = part[:cut]
        most -= len(rows)
        for host_id, taken in groupby(rows, key=lambda row: row[0]):
            if host_id in part:
                confirm.update((host_id, name) for name in _forgetting_most(asked[host_id], [*taken], now))
                # Between two hosts: others must get their turn while hundreds are looked at.
                time.sleep(0)
        if unseen:
            break
    return Answers(frozenset(confirm), frozenset(unseen))


def _forgetting_most(
    questions: Sequence[Question], rows: Sequence[tuple[str, datetime, int | None, list[str]]], now: datetime
) -> Iterator[str]:
    for one in questions:
        own = [Taken("", taken, offset) for _, taken, offset, tags in rows if one.group_name in tags][:MOST_SNAPSHOTS]
        policy = Policy.of(one.retention)
        if dict(policy.counts).get("keep_last", 0) * 2 >= len(own):
            continue
        answer = rules.apply(
            policy, own, now=now, zone=zone_named(one.host.timezone), restic=_version(one.host.restic_version)
        )
        if len(answer.removed) * 2 > len(own):
            yield one.group_name


def looked_at(group: SourceGroup | None) -> dict[str, Any]:
    """The retention that holds already for the group's snapshots; empty while its first forget waits."""
    return group.retention if group is not None and not group.retention_hold else {}


def confirm(
    *, host: Host, group_name: str, before: dict[str, Any], retention: dict[str, Any], typed_name: str, now: datetime
) -> None:
    """Raise Invalid for typed_name unless the change is small or the group's name was typed."""
    why = needs_confirmation(host=host, group_name=group_name, before=before, retention=retention, now=now)
    if why is not None and typed_name.strip() != group_name:
        raise Invalid({"typed_name": why})


def hold(*, host: Host, group_name: str, retention: dict[str, Any], now: datetime) -> str:
    """Why a forget by a retention that is new there must wait, as part of a sentence; empty when it need not."""
    if rules.problem(retention) is not None or not rules.normal(retention):
        return ""
    shown = preview(host=host, group_name=group_name, retention=retention, now=now)
    if shown.listing is None or shown.is_stale:
        return NOT_LISTED
    gone, total = len(shown.removed), len(shown.fates)
    if gone * 2 <= total:
        return ""
    return (
        f"its retention would remove {gone:,} of the {counted(total, 'snapshot')} that are there. Open the group, look"
        " which ones, and save it with its name typed if you mean it"
    )


def hold_host(host: Host, *, now: datetime) -> None:
    """The host has another repository now: what its retentions would do there is looked at anew."""
    for group in source_groups.list_for_host(host.id):
        _keep_hold(group, host, now)


def hold_repository(repository_id: str) -> None:
    """Another repository is at the place: no retention has been looked at there."""
    users = Host.select(Host.id).where(Host.repository == repository_id)
    SourceGroup.update(retention_hold=NOT_LISTED).where(
        SourceGroup.host.in_(users), SourceGroup.retention.cast("TEXT") != "{}"
    ).execute()


def look_again(repository_id: str, *, now: datetime) -> None:
    """A fresh list is known: who waited for one need not wait any more, unless much would go."""
    for group in source_groups.list_held(repository_id, limit=LOOKED_AT_ONCE):
        _keep_hold(group, group.host, now)


def _keep_hold(group: SourceGroup, host: Host, now: datetime) -> None:
    why = hold(host=host, group_name=group.name, retention=group.retention, now=now)
    if why != group.retention_hold:
        SourceGroup.update(retention_hold=why).where(SourceGroup.id == group.id).execute()


def _snapshots_of(host: Host, group_name: str) -> list[Snapshot]:
    if not host.repository_id or not group_name:
        return []
    wanted = Wanted(host.repository_id, hostname=host.hostname, tag=group_name)
    return snapshots.list_page(wanted, limit=MOST_SNAPSHOTS)[0]


def _is_stale(listing: SnapshotListing, host: Host, now: datetime) -> bool:
    return why_stale(taken_at=listing.taken_at, last_good=snapshots.last_good_of(host), now=now) != ""


def _version(text: str | None) -> tuple[int, int]:
    parts = (text or "").split(".")
    if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit():
        return int(parts[0]), int(parts[1])
    return rules.NEWEST_RESTIC
