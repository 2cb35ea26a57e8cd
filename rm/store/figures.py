"""What /metrics reads. Plain SQL and plain tuples, in slices that leave the event loop room between them."""

from typing import Any

from rm.store.database import db

Rows = list[tuple[Any, ...]]
PHASES_OF = 300

_HOSTS = """
SELECT h.id, h.name, h.connected_at IS NOT NULL, h.last_seen_at, h.first_hello_at IS NOT NULL, h.agent_version,
  h.agent_seq, h.os, h.arch, h.mode, h.protected_until, strftime('%s', h.last_seen_at),
  g.name, v.code, strftime('%s', v.last_good_at), strftime('%s', v.next_at), v.late_at, v.protected_until,
  CASE WHEN j.started_at IS NOT NULL
    THEN round(max(0, (julianday(j.finished_at) - julianday(j.started_at)) * 86400), 3) END
FROM (SELECT * FROM hosts WHERE id > ? AND revoked_at IS NULL ORDER BY id LIMIT ?) h
LEFT JOIN source_groups g ON g.host_id = h.id
LEFT JOIN group_verdicts v ON v.group_id = g.id
LEFT JOIN jobs j ON j.id = v.last_job_id
ORDER BY h.id
"""
_REPOSITORIES = """
SELECT id, name, total_bytes, snapshot_count, strftime('%s', checked_at), check_ok, strftime('%s', pruned_at)
FROM repositories WHERE id > ? ORDER BY id LIMIT ?
"""
_MAINTENANCE = """
SELECT r.name, p.kind, round(max(0, (julianday(p.last_ended_at) - julianday(p.last_started_at)) * 86400), 3)
FROM maintenance_policies p JOIN repositories r ON r.id = p.repository_id
WHERE p.last_ended_at IS NOT NULL AND p.last_started_at IS NOT NULL AND p.repository_id > ? AND p.repository_id <= ?
"""


def hosts_after(host_id: str, *, limit: int) -> Rows:
    """The next hosts that are not revoked, a row for each source group of theirs, or one for a host without."""
    return db.execute_sql(_HOSTS, (host_id, limit)).fetchall()


def repositories_after(repository_id: str, *, limit: int) -> Rows:
    """The next repositories."""
    return db.execute_sql(_REPOSITORIES, (repository_id, limit)).fetchall()


def maintenance_between(after: str, until: str) -> Rows:
    """(repository, kind, seconds) of the last run of each plan of these repositories."""
    return db.execute_sql(_MAINTENANCE, (after, until)).fetchall()


def totals() -> dict[str, Rows]:
    """By name: (first, second, third, value)."""
    found: dict[str, Rows] = {}
    for name, *rest in db.execute_sql("SELECT name, first, second, third, value FROM totals ORDER BY 1, 2, 3, 4"):
        found.setdefault(name, []).append(tuple(rest))
    return found


def count_revoked() -> int:
    return int(_one("SELECT count(*) FROM hosts WHERE revoked_at IS NOT NULL"))


def count_pending(now: str) -> int:
    return int(_one("SELECT count(*) FROM pending_hosts WHERE state = 'waiting' AND expires_at > ?", now))


def open_jobs() -> Rows:
    """(kind, state, count)."""
    # Written out: with another condition SQLite does not use the index of open jobs.
    return _rows("SELECT kind, state, count(*) FROM jobs WHERE state <> 'finished' GROUP BY 1, 2 ORDER BY 1, 2")


def open_alerts() -> Rows:
    """(kind, severity, state, count)."""
    return _rows(
        "SELECT kind, severity, state, count(*) FROM alerts WHERE state <> 'resolved' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )


def open_incidents() -> Rows:
    """(severity, state, count)."""
    return _rows(
        "SELECT severity, state, count(*) FROM incidents WHERE state IN ('raised', 'acknowledged')"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    )


def queued_deliveries() -> tuple[int, int | None]:
    """How many notifications wait, and since when the oldest (Unix time)."""
    count, oldest = _rows(
        "SELECT count(*), CAST(strftime('%s', min(created_at)) AS INTEGER) FROM deliveries WHERE state = 'queued'"
    )[0]
    return count, oldest


def channels() -> Rows:
    """(name, is failing) of the channels that are switched on."""
    return _rows("SELECT name, failing_since IS NOT NULL FROM channels WHERE is_enabled = 1 ORDER BY name")


def open_fleet_update_hosts() -> Rows:
    """(state, hosts) of the fleet update that is not over."""
    return _rows(
        "SELECT h.state, count(*) FROM fleet_update_hosts h JOIN fleet_updates u ON u.id = h.fleet_update_id"
        " WHERE u.state IN ('running', 'paused', 'halted', 'cancelling') GROUP BY 1 ORDER BY 1"
    )


def last_good_server_backup() -> tuple[int, int | None] | None:
    """When the last whole copy ended (Unix time), and its size."""
    found = _rows(
        "SELECT CAST(strftime('%s', ended_at) AS INTEGER), size_bytes FROM server_backups"
        " WHERE is_ok = 1 AND ended_at IS NOT NULL ORDER BY started_at DESC LIMIT 1"
    )
    return found[0] if found else None  # type: ignore[return-value]


def is_last_server_backup_bad() -> bool:
    """Whether the newest copy that ended is not whole."""
    found = _rows("SELECT is_ok FROM server_backups WHERE is_ok IS NOT NULL ORDER BY started_at DESC LIMIT 1")
    return bool(found) and not found[0][0]


def open_update_attempts() -> Rows:
    """(kind, state, count); kind is update or rollback."""
    return _rows(
        "SELECT iif(is_rollback, 'rollback', 'update'), state, count(*) FROM update_attempts"
        " WHERE state IN ('queued', 'dispatched', 'running', 'soaking', 'deferred') GROUP BY 1, 2 ORDER BY 1, 2"
    )


def update_phases() -> list[tuple[str, float]]:
    """(phase, seconds) of each phase that one of the newest attempts left."""
    rows = _rows(
        "SELECT e.job_id, e.phase, (julianday(e.at) - 2440587.5) * 86400 FROM"
        " (SELECT job_id FROM update_attempts ORDER BY job_id DESC LIMIT ?) a"
        " JOIN update_events e ON e.job_id = a.job_id ORDER BY e.job_id, e.id",
        PHASES_OF,
    )
    spans: list[tuple[str, float]] = []
    before: tuple[str, str, float] | None = None
    for job_id, phase, at in rows:
        if before is None or before[0] != job_id:
            before = (job_id, phase, at)
        elif before[1] != phase:
            if before[1]:
                spans.append((before[1], round(max(0.0, at - before[2]), 3)))
            before = (job_id, phase, at)
    return spans


def _rows(sql: str, *values: object) -> Rows:
    return db.execute_sql(sql, values).fetchall()


def _one(sql: str, *values: object) -> Any:
    return db.execute_sql(sql, values).fetchone()[0]
