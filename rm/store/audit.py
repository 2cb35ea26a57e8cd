"""Named queries about the audit log. It only grows, so pages and counts need not look at all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from peewee import ModelSelect, fn

from rm.store.models import AuditEntry

WINDOW = 50_000
"""So many entries are looked through at once for a text that no index finds."""
INDEXED_WINDOW = 200_000
CHUNK = 1000


@dataclass(frozen=True)
class Filters:
    """What is asked for; an empty field asks for nothing.

    `q` is searched for in names, actions and addresses; `q_actions` are actions that it finds besides.
    """

    q: str = ""
    who: str = ""
    kind: str = ""
    action: str = ""
    target: str = ""
    address: str = ""
    since: datetime | None = None
    until: datetime | None = None
    q_actions: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == Filters()


@dataclass(frozen=True)
class Found:
    """One page: `next_before` is where the next one begins; `is_cut`: the search stopped there before it was full."""

    entries: list[AuditEntry]
    next_before: int | None
    is_cut: bool = False


def list_page(filters: Filters | None = None, *, before_id: int | None = None, limit: int = 50) -> Found:
    """The newest entries that fit, before one of them."""
    filters = filters or Filters()
    lowest, highest = _range(filters)
    top = min(before_id, highest + 1) if before_id is not None else highest + 1
    bottom = lowest
    if not filters.is_empty:
        is_indexed = not filters.q and any((filters.who, filters.action, filters.target, filters.address))
        bottom = max(lowest, top - (INDEXED_WINDOW if is_indexed else WINDOW))
    query = _fitting(filters).where(AuditEntry.id < top, AuditEntry.id >= bottom)
    found = list(query.order_by(AuditEntry.id.desc()).limit(limit + 1))
    if len(found) > limit:
        return Found(found[:limit], found[limit - 1].id)
    return Found(found, bottom if bottom > lowest else None, is_cut=bottom > lowest)


def each(filters: Filters) -> Iterator[list[AuditEntry]]:
    """All that fit, the newest first, some at a time; each piece wants a connection only while it is read."""
    lowest, highest = _range(filters)
    top = highest + 1
    while top > lowest:
        bottom = max(lowest, top - CHUNK)
        query = _fitting(filters).where(AuditEntry.id < top, AuditEntry.id >= bottom)
        yield list(query.order_by(AuditEntry.id.desc()))
        top = bottom


def list_actions() -> list[str]:
    """Every action that was ever recorded, found by jumping from one to the next in the index."""
    found: list[str] = []
    while len(found) < 500:
        query = AuditEntry.select(fn.MIN(AuditEntry.action))
        action = (query.where(AuditEntry.action > found[-1]) if found else query).scalar()
        if action is None:
            break
        found.append(action)
    return found


def count() -> int:
    """How many there are: none was ever removed, and they are numbered one by one."""
    lowest, highest = _range(Filters())
    return highest - lowest + 1 if highest else 0


def _range(filters: Filters) -> tuple[int, int]:
    """The least and the greatest id that can fit; times and ids grow together."""
    lowest = AuditEntry.select(fn.MIN(AuditEntry.id)).scalar() or 0
    highest = AuditEntry.select(fn.MAX(AuditEntry.id)).scalar() or 0
    if filters.since is not None:
        first = AuditEntry.select(AuditEntry.id).where(AuditEntry.at >= filters.since).order_by(AuditEntry.at).first()
        lowest = max(lowest, first.id if first is not None else highest + 1)
    if filters.until is not None:
        query = AuditEntry.select(AuditEntry.id).where(AuditEntry.at < filters.until)
        last = query.order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).first()
        highest = min(highest, last.id if last is not None else lowest - 1)
    return lowest, highest


def _fitting(filters: Filters) -> ModelSelect:
    query = AuditEntry.select()
    for column, value in (
        (AuditEntry.actor_name, filters.who), (AuditEntry.actor_kind, filters.kind),
        (AuditEntry.action, filters.action), (AuditEntry.target_name, filters.target),
        (AuditEntry.address, filters.address),
    ):  # fmt: skip
        if value:
            query = query.where(column == value)
    if filters.since is not None:
        query = query.where(AuditEntry.at >= filters.since)
    if filters.until is not None:
        query = query.where(AuditEntry.at < filters.until)
    if filters.q:
        query = query.where(
            AuditEntry.actor_name.contains(filters.q)
            | AuditEntry.action.contains(filters.q)
            | AuditEntry.target_name.contains(filters.q)
            | AuditEntry.address.contains(filters.q)
            | AuditEntry.action.in_(filters.q_actions)
        )
    return query
