"""Named queries about the verdicts of source groups, and what they are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from peewee import SQL, ModelSelect, fn

from rm.domain import health
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.store import kept_settings
from rm.store.database import among, db
from rm.store.models import (
    Alert,
    AlertWait,
    GroupVerdict,
    Host,
    Schedule,
    ScheduleGroup,
    SkippedRun,
    SourceGroup,
)
from rm.store.quick_rows import ids

BACKUP_ALERTS = ("backup_failed", "backup_late", "backup_missed")
OFFLINE_ALERT = "agent_offline"
ANEW = "verdicts.anew"


@dataclass(frozen=True)
class GroupRow:
    """A source group with its verdict as it was kept; `code` is empty while it was never judged."""

    id: str
    host_id: str
    name: str
    mode: str
    is_scheduled: bool
    code: str
    text: str
    since: datetime | None
    next_at: datetime | None
    late_at: datetime | None
    protected_until: datetime | None
    last_good_at: datetime | None


def list_groups(host_ids: Iterable[str]) -> dict[str, list[GroupRow]]:
    """The groups of these hosts by host, in the order of their names."""
    query = (
        "SELECT g.id, g.host_id, g.name, g.mode, EXISTS (SELECT 1 FROM schedule_groups sg JOIN schedules s"
        " ON s.id = sg.schedule_id WHERE sg.group_id = g.id AND s.is_enabled), v.code, v.text,"
        " v.since, v.next_at, v.late_at, v.protected_until, v.last_good_at"
        " FROM source_groups g LEFT JOIN group_verdicts v ON v.group_id = g.id"
        " WHERE g.host_id IN (SELECT value FROM json_each(?)) ORDER BY g.name"
    )
    found: dict[str, list[GroupRow]] = {}
    for group_id, host_id, name, mode, is_scheduled, code, text, *times in db.execute_sql(query, (ids(host_ids),)):
        at = (instants.from_text(time) if time is not None else None for time in times)
        row = GroupRow(group_id, host_id, name, mode, bool(is_scheduled), code or "", text or "", *at)
        found.setdefault(host_id, []).append(row)
    return found


def list_skipped(host_id: str, *, limit: int) -> list[SkippedRun]:
    """The runs of a host that did not take place, the last ones first."""
    query = SkippedRun.select().where(SkippedRun.host == host_id).order_by(SkippedRun.due_to.desc()).limit(limit)
    return list(query)


def list_turning(now: datetime, *, limit: int) -> list[str]:
    """The hosts with a group whose verdict time has changed, the longest ago first."""
    query = (
        GroupVerdict.select(GroupVerdict.host)
        .where(GroupVerdict.turns_at.is_null(False), GroupVerdict.turns_at <= now)
        .order_by(GroupVerdict.turns_at)
        .limit(limit)
    )
    return list(dict.fromkeys(host_id for (host_id,) in query.tuples()))


def list_unjudged(*, limit: int) -> list[str]:
    """Hosts that have no verdict yet."""
    return [host_id for (host_id,) in Host.select(Host.id).where(Host.verdict_code == "").limit(limit).tuples()]


def want_all_anew() -> None:
    """Have every host judged anew, some at a time; inside the transaction of what makes that needed."""
    kept_settings.put(ANEW, {"after": "", "mark": new_ulid()})


def anew_after() -> str | None:
    """The last host that was judged anew; empty before the first one, None when none is to be."""
    found: str | None = kept_settings.get(ANEW, {}).get("after")
    return found


def anew_mark() -> str:
    """Which change of settings asked for it."""
    return str(kept_settings.get(ANEW, {}).get("mark", ""))


def keep_anew_after(host_id: str | None, *, mark: str) -> None:
    kept_settings.put(ANEW, {} if host_id is None else {"after": host_id, "mark": mark})


def list_hosts_after(host_id: str, *, limit: int) -> list[str]:
    """The next hosts in the order of their ids."""
    query = Host.select(Host.id).where(Host.id > host_id).order_by(Host.id).limit(limit)
    return [found for (found,) in query.tuples()]


def told_unprotected(now: datetime) -> set[str]:
    """Unprotected hosts of which an open alert tells why."""
    query = (
        Alert.select(Alert.host)
        .join(Host)
        .where(
            Alert.state != "resolved", Alert.kind.in_(BACKUP_ALERTS), Host.revoked_at.is_null(),
            Host.protected_until.is_null() | (Host.protected_until <= now),
        )
    )  # fmt: skip
    return {host_id for (host_id,) in query.tuples()}


def list_unheard(since: datetime) -> list[str]:
    """The hosts that were last heard of before then, awake or not."""
    query = Host.select(Host.id).where(Host.revoked_at.is_null(), Host.last_seen_at < since).order_by(Host.id)
    return [host_id for (host_id,) in query.tuples()]


def list_told_of_silence() -> list[str]:
    """The hosts whose silence is told, or waits to be."""
    told = Alert.select(Alert.host).where(Alert.kind == OFFLINE_ALERT, Alert.state != "resolved")
    waits = AlertWait.select(AlertWait.host).where(AlertWait.kind == OFFLINE_ALERT)
    return sorted({host_id for query in (told, waits) for (host_id,) in query.tuples()})


def list_silent(*, among_hosts: Iterable[str]) -> list[tuple[datetime, str]]:
    """Those of these silent hosts that are to be awake, and of which it was not told yet.

    When each was last heard of, and its id.
    """
    # told: also when a person resolved it, for the host was not heard of since
    told = Alert.select(fn.COUNT(Alert.id)).where(
        Alert.host == Host.id, Alert.kind == OFFLINE_ALERT,
        (Alert.state != "resolved") | (Alert.last_seen_at > Host.last_seen_at),
    )  # fmt: skip
    waits = AlertWait.select(fn.COUNT(SQL("*"))).where(AlertWait.host == Host.id, AlertWait.kind == OFFLINE_ALERT)
    query = Host.select(Host.last_seen_at, Host.id).where(
        Host.id.in_(among(among_hosts)), _awake_groups() > 0, told == 0, waits == 0
    )
    return list(query.tuples())


def list_last_seen(*, among_hosts: Iterable[str]) -> list[datetime]:
    """When each of these silent hosts that is to be awake was last heard of."""
    query = Host.select(Host.last_seen_at).where(Host.id.in_(among(among_hosts)), _awake_groups() > 0)
    return [at for (at,) in query.tuples()]


def list_told_silent(now: datetime, *, among_hosts: Iterable[str]) -> list[tuple[str, bool]]:
    """What is open, or waits to be told, about those of these hosts that are heard of or need not be awake any more.

    The condition, and whether the host is connected.
    """
    chosen = Host.id.in_(among(among_hosts))
    is_heard = Host.connected_at.is_null(False) & (Host.last_seen_at >= now - health.OFFLINE_AFTER)
    is_over = is_heard | Host.revoked_at.is_null(False) | (_awake_groups() == 0)
    told = (
        Alert.select(Alert.condition, Host.connected_at)
        .join(Host)
        .where(chosen, Alert.kind == OFFLINE_ALERT, Alert.state != "resolved", is_over)
    )
    waiting = (
        AlertWait.select(AlertWait.condition, Host.connected_at)
        .join(Host)
        .where(chosen, AlertWait.kind == OFFLINE_ALERT, is_over)
    )
    return [(found, at is not None) for query in (waiting, told) for found, at in query.tuples()]


def _awake_groups() -> ModelSelect:
    """How many groups of a host are to be run by a schedule while nobody lets the host sleep."""
    return (
        ScheduleGroup.select(fn.COUNT(ScheduleGroup.group))
        .join(Schedule)
        .switch(ScheduleGroup)
        .join(SourceGroup)
        .where(SourceGroup.host == Host.id, SourceGroup.mode == "always_on", Schedule.is_enabled)
    )
