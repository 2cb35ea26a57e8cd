"""How much the database holds, read beside everything else; call it away from the event loop."""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rm.store.backup_files import open_for_reading

SECONDS = 2.0
"""What is not counted by then is not told."""
_COUNTED = {
    "job_logs": "SELECT count(*), (SELECT min(finished_at) FROM jobs WHERE finished_at IS NOT NULL) FROM job_log_lines",
    "jobs": "SELECT count(*), min(finished_at) FROM jobs WHERE finished_at IS NOT NULL",
    "skipped_runs": "SELECT count(*), min(at) FROM skipped_runs",
    "incidents": "SELECT count(*), min(resolved_at) FROM incidents WHERE state = 'resolved'",
    "deliveries": "SELECT count(*), min(created_at) FROM deliveries WHERE state <> 'queued'",
    "update_events": "SELECT (SELECT count(*) FROM update_events) + (SELECT count(*) FROM fleet_update_events),"
    " (SELECT at FROM update_events ORDER BY id LIMIT 1)",
    "backup_days": "SELECT (SELECT count(*) FROM backup_days) + (SELECT count(*) FROM repository_days), NULL",
    "audit": "SELECT count(*), (SELECT at FROM audit_entries ORDER BY id LIMIT 1) FROM audit_entries",
}
_STEPS = 20_000


@dataclass(frozen=True)
class Held:
    """Rows of one kind and the instant of the oldest; None: it could not be counted in time."""

    rows: int | None
    oldest: str | None


@dataclass(frozen=True)
class Facts:
    """Sizes in bytes; `free_inside` is what removed rows left for new ones."""

    file_bytes: int
    log_bytes: int
    free_inside: int
    held: dict[str, Held]


def read(file: Path, *, seconds: float = SECONDS) -> Facts:
    """What is known within so many seconds."""
    until = time.monotonic() + seconds
    held = {}
    with closing(open_for_reading(file)) as database:
        database.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
        free = _number(database, "freelist_count") * _number(database, "page_size")
        for name, query in _COUNTED.items():
            try:
                rows, oldest = database.execute(query).fetchone()
                held[name] = Held(rows, oldest)
            except sqlite3.OperationalError:
                held[name] = Held(None, None)
    wal = Path(f"{file}-wal")
    return Facts(file.stat().st_size, wal.stat().st_size if wal.exists() else 0, free, held)


def _number(database: sqlite3.Connection, pragma: str) -> int:
    try:
        return int(database.execute(f"PRAGMA {pragma}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
