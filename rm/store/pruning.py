"""Removing old history piece by piece: each call removes at most so many rows, found through an index."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rm.shared import ids, instants
from rm.store.database import db

AT_THE_START = ("", "")


def list_hosts() -> list[str]:
    return [row[0] for row in db.execute_sql("SELECT id FROM hosts").fetchall()]


def list_repositories() -> list[str]:
    return [row[0] for row in db.execute_sql("SELECT id FROM repositories").fetchall()]


def list_finished(before: datetime, *, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
    """(finished_at, id) of jobs that ended before then, the oldest first; `after` is the last one of before."""
    rows = db.execute_sql(
        "SELECT finished_at, id FROM jobs WHERE finished_at IS NOT NULL AND finished_at < ?1 AND finished_at >= ?2"
        " AND (finished_at > ?2 OR id > ?3) ORDER BY finished_at, id LIMIT ?4",
        (instants.to_text(before), *after, limit),
    )
    return [(at, job_id) for at, job_id in rows.fetchall()]


def with_logs(job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs that have log lines or samples."""
    if not job_ids:
        return set()
    marks = ", ".join("?" * len(job_ids))
    rows = db.execute_sql(
        f"SELECT id FROM jobs j WHERE id IN ({marks}) AND"  # noqa: S608
        " (EXISTS (SELECT 1 FROM job_log_lines WHERE job_id = j.id)"
        " OR EXISTS (SELECT 1 FROM job_samples WHERE job_id = j.id))",
        tuple(job_ids),
    )
    return {job_id for (job_id,) in rows.fetchall()}


def delete_log(job_id: str, *, limit: int) -> int:
    """Some of a job's log lines and samples; 0 when none is left."""
    for table, column in (("job_log_lines", "n"), ("job_samples", "elapsed_seconds")):
        gone = _delete(
            f"DELETE FROM {table} WHERE job_id = ?1 AND {column} IN"  # noqa: S608
            f" (SELECT {column} FROM {table} WHERE job_id = ?1 ORDER BY {column} LIMIT ?2)",
            (job_id, limit),
        )
        if gone:
            return gone
    return 0


def delete_jobs(job_ids: Sequence[str], *, keep_per_host: int) -> int:
    """Those of these jobs that no verdict, page or plan speaks of any more."""
    if not job_ids:
        return 0
    marks = ", ".join("?" * len(job_ids))
    return _delete(
        f"DELETE FROM jobs WHERE id IN ({marks}) AND state = 'finished'"  # noqa: S608
        " AND NOT EXISTS (SELECT 1 FROM hosts h WHERE h.id = jobs.host_id AND h.last_backup_id = jobs.id)"
        " AND NOT EXISTS (SELECT 1 FROM group_verdicts v WHERE v.host_id = jobs.host_id"
        "   AND (v.last_job_id = jobs.id OR v.last_good_at = jobs.finished_at))"
        " AND NOT EXISTS (SELECT 1 FROM maintenance_policies p WHERE p.repository_id = jobs.repository_id"
        "   AND p.last_job_id = jobs.id)"
        " AND NOT EXISTS (SELECT 1 FROM fleet_update_hosts f WHERE f.host_id = jobs.host_id AND f.attempt_id = jobs.id"
        "   AND f.state NOT IN ('passed_over', 'succeeded', 'failed', 'skipped', 'excluded'))"
        " AND id < coalesce((SELECT n.id FROM jobs n WHERE n.host_id = jobs.host_id ORDER BY n.id DESC"
        "   LIMIT 1 OFFSET ?), '')",
        (*job_ids, keep_per_host - 1),
    )


def delete_skipped_runs(before: datetime, *, limit: int) -> int:
    return _delete(
        "DELETE FROM skipped_runs WHERE id IN (SELECT id FROM skipped_runs WHERE id < ? AND at < ? LIMIT ?)",
        (_first_id(before), instants.to_text(before), limit),
    )


def delete_alerts(before: datetime, *, limit: int) -> int:
    """Resolved alerts, and once these are gone resolved incidents with their timelines."""
    at = instants.to_text(before)
    gone = _delete(
        "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE state = 'resolved' AND last_seen_at < ?1"
        " AND resolved_at < ?1 LIMIT ?2)",
        (at, limit),
    )
    return gone or _delete(
        "DELETE FROM incidents WHERE id IN (SELECT i.id FROM incidents i WHERE i.state = 'resolved'"
        " AND i.last_seen_at < ?1 AND i.resolved_at < ?1"
        " AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.incident_id = i.id) LIMIT ?2)",
        (at, max(1, limit // 10)),
    )


def delete_deliveries(before: datetime, *, limit: int) -> int:
    return _delete(
        "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE id < ? AND state <> 'queued' LIMIT ?)",
        (_first_id(before), limit),
    )


def delete_update_events(before: datetime, *, limit: int) -> int:
    """Steps of updates, the oldest first; they were written in the order of time."""
    at = instants.to_text(before)
    for table in ("update_events", "fleet_update_events"):
        gone = _delete(
            f"DELETE FROM {table} WHERE at < ?1 AND id IN (SELECT id FROM {table} ORDER BY id LIMIT ?2)",  # noqa: S608
            (at, limit),
        )
        if gone:
            return gone
    return 0


def delete_days(table: str, column: str, owner_id: str, before: datetime) -> int:
    """The counts of one host, or the sizes of one repository, of days before then."""
    return _delete(
        f"DELETE FROM {table} WHERE {column} = ? AND day < ?",  # noqa: S608
        (owner_id, before.strftime("%Y-%m-%d")),
    )


EXPIRED = (
    ("sessions", "expires_at < :now"),
    ("user_links", "expires_at < :week"),
    ("setup_links", "expires_at < :now"),
    ("sign_in_steps", "expires_at < :now"),
    ("oidc_logins", "expires_at < :now"),
    ("idempotency_keys", "created_at < :two_days"),
    ("restore_picks", "picked_at < :month"),
    # one that let a host in stays: it says which person brought which host
    ("enrolment_tokens", "expires_at < :month AND uses = 0"),
    ("api_tokens", "coalesce(revoked_at, expires_at) < :year"),
    ("pending_hosts", "expires_at < :month AND host_id IS NULL"),
)
"""What is of no use after its time, and when that is over."""


def delete_expired(table: str, *, moments: dict[str, str], limit: int) -> int:
    """Rows of one of those tables whose time is over."""
    condition = dict(EXPIRED)[table]
    keys = {"idempotency_keys": "owner, key", "restore_picks": "user_id, repository_id, snapshot_id, path"}
    key = keys.get(table, "rowid")
    names = [name for name in moments if f":{name}" in condition]
    for name in names:
        condition = condition.replace(f":{name}", "?")
    return _delete(
        f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {condition} LIMIT ?)",  # noqa: S608
        (*(moments[name] for name in names), limit),
    )


def _first_id(moment: datetime) -> str:
    """The least id that something made then could have."""
    return ids.ulid(int(moment.timestamp() * 1000), 0)


def _delete(statement: str, values: tuple[Any, ...]) -> int:
    return int(db.execute_sql(statement, values).rowcount)
