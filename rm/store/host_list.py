"""Which hosts are on a page of the list, in which order, and how many: plain SQL, to look through ten thousand."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from rm.domain import health
from rm.shared import instants
from rm.store import hosts
from rm.store.database import db
from rm.store.host_rows import HostRow

STANDS = "revoked_at IS NULL"
# NULL compares as unknown; a host without any good backup must count as "no", not vanish.
PROTECTED = "COALESCE(protected_until > ?, 0)"
ONLINE = "(connected_at IS NOT NULL AND COALESCE(last_seen_at >= ?, 0))"
BEHIND = "COALESCE(agent_seq < (SELECT seq FROM releases WHERE is_current AND withdrawn_at IS NULL), 0)"
SHOWN = "id, name, revoked_at, protected_until"
# the id comes last, so that the order is total and no host is on two pages or on none
IN_ORDER = f"ORDER BY NOT ({STANDS}), CASE WHEN {STANDS} THEN {PROTECTED} ELSE 0 END, name, id LIMIT ? OFFSET ?"
# The plus keeps SQLite at walking through the index of the list, which is quicker than looking up each id.
TAGGED = "+id IN (SELECT host_id FROM host_tags WHERE tag = ?)"
SCOPED = "+id IN (SELECT host_id FROM host_tags WHERE tag IN (SELECT value FROM json_each(?)))"
LIKE = "LIKE ? ESCAPE '\\'"
TEXTS = ("name", "hostname", "last_address", "agent_version", "os_name")
NAMED = "id IN (SELECT host_id FROM host_tags WHERE tag IN (SELECT tag FROM known WHERE tag LIKE ? ESCAPE '\\'))"
SEARCHED = f"({' OR '.join([*(f'{text} {LIKE}' for text in TEXTS), NAMED])})"
# The tags there are, each once: jumping from one to the next, for a tag may be on every host.
KNOWN = """known(tag) AS (
  SELECT MIN(tag) FROM host_tags
  UNION ALL SELECT (SELECT MIN(tag) FROM host_tags WHERE tag > known.tag) FROM known WHERE known.tag IS NOT NULL
)"""
STATUSES: dict[str, tuple[str, timedelta | None]] = {
    "revoked": (f"NOT ({STANDS})", None),
    "problems": (f"{STANDS} AND NOT {PROTECTED}", timedelta()),
    "protected": (f"{STANDS} AND {PROTECTED}", timedelta()),
    "online": (f"{STANDS} AND {ONLINE}", health.OFFLINE_AFTER),
    "offline": (f"{STANDS} AND NOT {ONLINE}", health.OFFLINE_AFTER),
    "behind": (f"{STANDS} AND {BEHIND}", None),
}
"""What each status means, and how long before now the instant is that its condition takes; None: it takes none."""


def list_page(
    *, now: datetime, q: str = "", tag: str = "", status: str = "", limit: int = 50, offset: int = 0,
    scope: Sequence[str] = (), with_history: bool = True,
) -> tuple[list[HostRow], int]:  # fmt: skip
    """One page of hosts, problems first, and how many match in all; `status` is one of STATUSES, or empty.

    With a `scope`: only hosts that have one of these tags.
    """
    ids, total = list_ids(now=now, q=q, tag=tag, status=status, limit=limit, offset=offset, scope=scope)
    return hosts.rows_of(ids, now=now, with_history=with_history), total


def list_ids(
    *, now: datetime, q: str = "", tag: str = "", status: str = "", limit: int = 50, offset: int = 0,
    scope: Sequence[str] = (),
) -> tuple[list[str], int]:  # fmt: skip
    """The ids of one page of hosts, problems first and revoked ones last, and how many match in all."""
    wanted: list[tuple[str, tuple[str, ...]]] = []
    if scope:
        wanted.append((SCOPED, (json.dumps(list(scope)),)))
    if tag:
        wanted.append((TAGGED, (tag,)))
    if status in STATUSES:
        condition, before = STATUSES[status]
        wanted.append((condition, () if before is None else (instants.to_text(now - before),)))
    if q:
        wanted.append((SEARCHED, (_containing(q),) * SEARCHED.count("?")))
    where = " AND ".join(condition for condition, _ in wanted) or "1"
    parameters = tuple(one for _, values in wanted for one in values)
    page = (instants.to_text(now), limit, offset)
    return _searched(where, parameters, page) if q else _listed(where, parameters, page)


def counts(*, now: datetime) -> dict[str, int]:
    """How many hosts there are by state; "all" are those that are not revoked."""
    columns = (STANDS, f"{STANDS} AND {PROTECTED}", f"{STANDS} AND {ONLINE}", f"{STANDS} AND {BEHIND}")
    sums = ", ".join(f"COALESCE(SUM({column}), 0)" for column in columns)
    query = f"SELECT COUNT(*), {sums} FROM hosts"  # noqa: S608 - constants of this module
    moments = (instants.to_text(now), instants.to_text(now - health.OFFLINE_AFTER))
    known, total, safe, connected, older = db.execute_sql(query, moments).fetchone()
    return {
        "all": total,
        "protected": safe,
        "problems": total - safe,
        "online": connected,
        "offline": total - connected,
        "behind": older,
        "revoked": known - total,
    }


def list_unprotected(*, now: datetime, limit: int = 3) -> list[str]:
    """The first names of hosts that are not protected, the longest without a good backup first."""
    condition, _ = STATUSES["problems"]
    query = f"SELECT name FROM hosts WHERE {condition} ORDER BY last_good_at, name LIMIT ?"  # noqa: S608 - the same
    return [name for (name,) in db.execute_sql(query, (instants.to_text(now), limit))]


def _listed(where: str, parameters: tuple[str, ...], page: tuple[str | int, ...]) -> tuple[list[str], int]:
    query = f"SELECT id FROM hosts WHERE {where} {IN_ORDER}"  # noqa: S608 - constants of this module
    found = db.execute_sql(query, (*parameters, *page)).fetchall()
    # each tag is of one host, so nothing needs to be looked up among the hosts
    counted = "host_tags WHERE tag = ?" if where == TAGGED else f"hosts WHERE {where}"
    query = f"SELECT COUNT(*) FROM {counted}"  # noqa: S608 - the same
    (total,) = db.execute_sql(query, parameters).fetchone()
    return [host_id for (host_id,) in found], total


def _searched(where: str, parameters: tuple[str, ...], page: tuple[str | int, ...]) -> tuple[list[str], int]:
    """The same, with the texts compared once: the page and the count are taken from what was found."""
    query = (
        f"WITH RECURSIVE {KNOWN}, found AS MATERIALIZED (SELECT {SHOWN} FROM hosts WHERE {where})"  # noqa: S608 - the same
        f" SELECT NULL, COUNT(*) FROM found UNION ALL SELECT id, 0 FROM (SELECT id FROM found {IN_ORDER})"
    )
    (_, total), *found = db.execute_sql(query, (*parameters, *page)).fetchall()
    return [host_id for host_id, _ in found], total


def _containing(q: str) -> str:
    r"""The pattern of LIKE for texts with these words in them; % and _ stand for themselves."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", q) + "%"
