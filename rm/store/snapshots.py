"""Named queries about snapshots, as the last listing told them."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from peewee import SQL, Expression, ModelSelect, fn

from rm.domain.snapshots import GoodBackup
from rm.errors import NotFound
from rm.store.models import Host, Snapshot, SnapshotListing

# Says nothing of the answer: without it SQLite goes through the whole repository instead of the index by host.
_BY_HOST = Snapshot.time > SQL("''")


@dataclass(frozen=True)
class Wanted:
    """Which snapshots of a repository: all, those of a hostname, with a tag, or in which a text occurs."""

    repository_id: str
    hostname: str = ""
    tag: str = ""
    text: str = ""


def list_page(wanted: Wanted, *, limit: int = 50, offset: int = 0) -> tuple[list[Snapshot], int]:
    """One page, the newest first, and how many match in all."""
    query = _matching(wanted)
    page = query.order_by(Snapshot.time.desc(), Snapshot.id).limit(limit).offset(offset)
    return list(page), query.count()


def count_for_repository(repository_id: str, *, hostname: str | None = None) -> int:
    return _matching(Wanted(repository_id, hostname=hostname or "")).count()


def hostnames(repository_id: str) -> list[tuple[str, int]]:
    """Whose snapshots they are, with their number, the most first."""
    query = (
        Snapshot.select(Snapshot.hostname, fn.COUNT(SQL("*")))
        .where(Snapshot.repository == repository_id)
        .group_by(Snapshot.hostname)
        .order_by(fn.COUNT(SQL("*")).desc(), Snapshot.hostname)
        .limit(50)
    )
    return list(query.tuples())


def tags(wanted: Wanted) -> list[tuple[str, int]]:
    """The tags of these snapshots, with their number, the most used first."""
    # Thousands of snapshots have the same few tags: those are taken apart once, not per snapshot.
    sets = _matching(wanted).select(Snapshot.tags, fn.COUNT(SQL("*"))).group_by(Snapshot.tags)
    found: Counter[str] = Counter()
    for together, count in sets.tuples():
        for tag in set(together):
            found[tag] += count
    return sorted(found.items(), key=lambda one: (-one[1], one[0]))[:50]


def find(repository_id: str | None, snapshot_id: str) -> Snapshot | None:
    return Snapshot.get_or_none(Snapshot.repository == repository_id, Snapshot.id == snapshot_id)


def get(repository_id: str, snapshot_id: str, *, hostname: str | None = None) -> Snapshot:
    """The snapshot, if it is in the repository (and of that host); raises NotFound."""
    query = Snapshot.select().where(Snapshot.repository == repository_id, Snapshot.id == snapshot_id)
    if hostname is not None:
        query = query.where(Snapshot.hostname == hostname)
    found = query.first()
    if found is None:
        raise NotFound(
            "There is no such snapshot.", code="snapshot_gone",
            help="It may have been removed since. The list of snapshots shows what there is; it can be listed again.",
        )  # fmt: skip
    return found


def taken_on_hosts(host_ids: Sequence[str], *, limit: int) -> Iterator[tuple[str, datetime, int | None, list[str]]]:
    """The snapshots of many hosts, as (host, time, offset of its clock, tags): host by host by name, newest first."""
    own = (Snapshot.repository == Host.repository) & (Snapshot.hostname == Host.hostname) & _BY_HOST
    query = (
        Host.select(Host.id, Snapshot.time, Snapshot.utc_offset_minutes, Snapshot.tags.cast("TEXT"))
        .join(Snapshot, on=own)
        .where(Host.id.in_(list(host_ids)))
        .order_by(Host.name, Host.id, Snapshot.time.desc(), Snapshot.id)
        .limit(limit)
    )
    # Many snapshots have the same few tags: those are taken apart once.
    known: dict[str, list[str]] = {}
    for host_id, taken_at, offset, text in query.tuples().iterator():
        if text not in known:
            known[text] = json.loads(text)
        yield host_id, taken_at, offset, known[text]


def listing(repository_id: str) -> SnapshotListing | None:
    """When the snapshots of a repository were listed last, and by which host."""
    return SnapshotListing.get_or_none(SnapshotListing.repository == repository_id)


def last_good(repository_id: str) -> GoodBackup | None:
    """The last good backup to a repository."""
    newest = (
        Host.select()
        .where(Host.repository == repository_id, Host.last_good_at.is_null(False))
        .order_by(Host.last_good_at.desc())
        .first()
    )
    return last_good_of(newest) if newest is not None else None


def last_good_of(host: Host) -> GoodBackup | None:
    """The last good backup of a host."""
    return GoodBackup(host.last_good_at, host.last_good_began_at) if host.last_good_at is not None else None


def _matching(wanted: Wanted) -> ModelSelect:
    query = Snapshot.select().where(Snapshot.repository == wanted.repository_id)
    if wanted.hostname:
        query = query.where(Snapshot.hostname == wanted.hostname, _BY_HOST)
    if wanted.tag:
        query = query.where(_has_tag(wanted.tag))
    if wanted.text:
        query = query.where(_any_of(wanted.text))
    return query


def _has_tag(tag: str) -> Expression:
    one = fn.json_each(Snapshot.tags).alias("one")
    return fn.EXISTS(Snapshot.select(SQL("1")).from_(one).where(SQL("one.value = ?", [tag])))


def _any_of(text: str) -> Expression:
    as_json = json.dumps(text, ensure_ascii=False)[1:-1]
    return (
        Snapshot.id.startswith(text.lower())
        | Snapshot.hostname.contains(text)
        | Snapshot.time.cast("TEXT").contains(text)
        | Snapshot.paths.cast("TEXT").contains(as_json)
        | Snapshot.tags.cast("TEXT").contains(as_json)
    )
