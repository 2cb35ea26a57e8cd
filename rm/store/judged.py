"""What verdicts are made from. Plain SQL and plain tuples: it is read for each report of each host."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rm.shared import instants
from rm.shared.schedule import Timing
from rm.store.database import db

RUNS_READ = 200
SKIPPED_READ = 100


@dataclass(frozen=True)
class JudgedHost:
    """What is asked of a host."""

    id: str
    name: str
    timezone: str
    features: list[str]
    revoked_at: datetime | None
    protected_until: datetime | None
    verdict_code: str
    verdict_text: str


@dataclass(frozen=True)
class Kept:
    """A verdict as it was kept."""

    code: str
    text: str
    since: datetime
    next_at: datetime | None
    last_job_id: str | None
    last_good_at: datetime | None
    late_at: datetime | None
    protected_until: datetime | None
    reported: dict[str, Any]
    changed_at: datetime
    turns_at: datetime | None
    missed_on: str | None


@dataclass(frozen=True)
class JudgedGroup:
    """What is asked of a source group, and the verdict about it before; None: it was never judged."""

    id: str
    name: str
    mode: str
    created_at: datetime
    stale_after_hours: int | None
    retries: int
    retry_minutes: int
    before: Kept | None


@dataclass(frozen=True)
class Plan:
    """An enabled schedule that runs a group."""

    timing: Timing
    jitter: timedelta
    changed_at: datetime


@dataclass(frozen=True)
class EndedRun:
    """A backup that ended."""

    id: str
    source_group: str
    outcome: str
    message: str
    finished_at: datetime
    attempt: int
    is_fired: bool
    reason: str = ""
    repository_id: str | None = None


@dataclass(frozen=True)
class Skipped:
    """Runs that did not take place, and for which no later run stands."""

    due_to: datetime
    reason: str
    message: str


def find_host(host_id: str) -> JudgedHost | None:
    row = db.execute_sql(
        "SELECT id, name, timezone, features, revoked_at, protected_until, verdict_code, verdict_text"
        " FROM hosts WHERE id = ?",
        (host_id,),
    ).fetchone()
    if row is None:
        return None
    found, name, timezone, features, revoked, until, code, text = row
    return JudgedHost(found, name, timezone, json.loads(features), _at(revoked), _at(until), code, text)


def list_groups(host_id: str) -> list[JudgedGroup]:
    """The groups of a host in the order of their names, each with its verdict as it was kept."""
    rows = db.execute_sql(
        "SELECT g.id, g.name, g.mode, g.created_at, g.stale_after_hours, g.retries, g.retry_minutes,"
        " v.code, v.text, v.since, v.next_at, v.last_job_id, v.last_good_at, v.late_at, v.protected_until, v.reported,"
        " v.changed_at, v.turns_at, v.missed_on"
        " FROM source_groups g LEFT JOIN group_verdicts v ON v.group_id = g.id WHERE g.host_id = ? ORDER BY g.name",
        (host_id,),
    ).fetchall()
    return [
        JudgedGroup(
            group_id, name, mode, instants.from_text(created), stale, retries, minutes,
            _kept(*kept) if kept[0] is not None else None,
        )
        for group_id, name, mode, created, stale, retries, minutes, *kept in rows
    ]  # fmt: skip


def plans_by_group(host_id: str) -> dict[str, list[Plan]]:
    """The enabled schedules that run each group of a host."""
    rows = db.execute_sql(
        "SELECT p.group_id, s.cron, s.every_minutes, s.jitter_seconds, s.changed_at FROM schedules s"
        " JOIN schedule_groups p ON p.schedule_id = s.id WHERE s.host_id = ? AND s.is_enabled = 1",
        (host_id,),
    ).fetchall()
    found: dict[str, list[Plan]] = {}
    for group_id, cron, minutes, jitter, changed in rows:
        plan = Plan(Timing(cron, minutes), timedelta(seconds=jitter), instants.from_text(changed))
        found.setdefault(group_id, []).append(plan)
    return found


def list_runs(host_id: str, *, but_also: Iterable[str] = ()) -> list[EndedRun]:
    """The newest ended backups of a host, and those of these ids; without the cancelled ones, which say nothing."""
    columns = "id, source_group, outcome, message, finished_at, attempt, schedule_id, reason, repository_id"
    counted = "outcome IN ('succeeded', 'warnings', 'failed', 'lost')"
    rows = db.execute_sql(
        f"SELECT {columns} FROM jobs WHERE host_id = ? AND kind = 'backup' AND state = 'finished' AND {counted}"  # noqa: S608
        " ORDER BY id DESC LIMIT ?",
        (host_id, RUNS_READ),
    ).fetchall()
    for job_id in set(but_also) - {row[0] for row in rows}:
        rows += db.execute_sql(
            f"SELECT {columns} FROM jobs WHERE id = ? AND host_id = ? AND {counted}",  # noqa: S608
            (job_id, host_id),
        ).fetchall()
    return [
        EndedRun(
            job_id, group, outcome, message, instants.from_text(ended), attempt, bool(schedule_id), reason, repository
        )
        for job_id, group, outcome, message, ended, attempt, schedule_id, reason, repository in rows
    ]  # fmt: skip


def last_skipped(host_id: str) -> dict[str, Skipped]:
    """The last skipped runs of each group of a host."""
    rows = db.execute_sql(
        "SELECT source_group, due_to, reason, message FROM skipped_runs WHERE host_id = ? AND job_id IS NULL"
        " ORDER BY due_to DESC LIMIT ?",
        (host_id, SKIPPED_READ),
    ).fetchall()
    found: dict[str, Skipped] = {}
    for group, due_to, reason, message in rows:
        found.setdefault(group, Skipped(instants.from_text(due_to), reason, message))
    return found


def running_groups(host_id: str) -> set[str]:
    """The names of the groups of which a backup runs."""
    rows = db.execute_sql(
        "SELECT source_group FROM jobs WHERE host_id = ? AND state <> 'finished' AND state = 'running'"
        " AND kind = 'backup'",
        (host_id,),
    ).fetchall()
    return {name for (name,) in rows}


def open_alerts(host_id: str) -> set[tuple[str, str]]:
    """What is open about a host's backups, or waits to be told: kind and condition."""
    rows = db.execute_sql(
        "SELECT kind, condition FROM alerts WHERE host_id = ? AND state <> 'resolved'"
        " AND kind IN ('backup_failed', 'backup_late', 'backup_missed')"
        " UNION ALL SELECT kind, condition FROM alert_waits WHERE host_id = ?"
        " AND kind IN ('backup_failed', 'backup_late', 'backup_missed')",
        (host_id, host_id),
    ).fetchall()
    return set(rows)


def _kept(
    code: str, text: str, since: str, next_at: str | None, last_job_id: str | None, good: str | None,
    late_at: str | None, until: str | None, reported: str, changed_at: str, turns_at: str | None, missed_on: str | None,
) -> Kept:  # fmt: skip
    return Kept(
        code, text, instants.from_text(since), _at(next_at), last_job_id, _at(good), _at(late_at), _at(until),
        json.loads(reported), instants.from_text(changed_at), _at(turns_at), missed_on,
    )  # fmt: skip


def _at(text: str | None) -> datetime | None:
    return instants.from_text(text) if text is not None else None
