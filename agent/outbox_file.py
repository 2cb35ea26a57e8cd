"""The file of the outbox: reports in SQLite, which give way when the disk is full and begin anew when it is damaged."""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.report import Report, cut
from rm.shared import ids

log = logging.getLogger("agent.outbox")

RESERVE_BYTES = 256 * 1024
Bookmark = tuple[str, str]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS report (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    job_id TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL,
    cut_lines INTEGER NOT NULL DEFAULT 0,
    frame TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS report_droppable ON report (seq) WHERE type = 'job.log' AND cut_lines = 0;
CREATE TABLE IF NOT EXISTS bookmark (job_id TEXT PRIMARY KEY, state TEXT NOT NULL);
"""


class OutboxFile:
    """What is on the disk; its changes say whether they are durable. Its owner sees to it that calls do not overlap."""

    def __init__(self, path: Path, *, restarted: Callable[[], None]) -> None:
        self.path = path
        self.was_reset = False
        self.cuts = 0
        self.problems: dict[str, str] = {}
        self._restarted = restarted
        self._reserve = path.with_name("outbox.reserve")
        self._db = self._open()
        self.last_seq, self.count, self.bytes = self._measure()
        self.make_reserve()

    def waiting(self, *, after: int, limit: int) -> list[Report]:
        """The oldest reports behind a sequence number, in order."""
        rows = self._read(
            "SELECT seq, id, type, job_id, frame, cut_lines FROM report WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [Report(*row) for row in rows]

    def ids_of(self, *, kind: str, job_id: str) -> list[str]:
        """The ids of the reports of that kind about that job."""
        rows = self._read("SELECT id FROM report WHERE type = ? AND job_id = ?", (kind, job_id))
        return [row[0] for row in rows]

    def keep(self, reports: list[tuple[Report, Bookmark | None]], *, lists: str, newest: dict[str, int]) -> bool:
        """Add reports with their bookmarks; reports of type `lists` about a key of `newest` go if they are older."""
        removed: list[int] = []

        def change(db: sqlite3.Connection) -> None:
            removed.clear()
            for about, first in newest.items():
                query = "DELETE FROM report WHERE type = ? AND job_id = ? AND seq < ? RETURNING size"
                removed.extend(size for (size,) in db.execute(query, (lists, about, first)).fetchall())
            for report, mark in reports:
                db.execute(
                    "INSERT INTO report (seq, id, type, job_id, size, cut_lines, frame) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (report.seq, report.id, report.type, report.job_id, report.size, report.cut_lines, report.frame),
                )
                if mark:
                    _put_bookmark(db, mark)

        if not self._write(change):
            return False
        self.count += len(reports) - len(removed)
        self.bytes += sum(report.size for report, _ in reports) - sum(removed)
        return True

    def remove(self, message_ids: list[str]) -> bool:
        """Forget reports; those that are not there count as forgotten."""
        removed: list[int] = []

        def change(db: sqlite3.Connection) -> None:
            removed.clear()
            for message_id in message_ids:
                row = db.execute("DELETE FROM report WHERE id = ? RETURNING size", (message_id,)).fetchone()
                if row:
                    removed.append(row[0])

        if not self._write(change):
            return False
        self.count -= len(removed)
        self.bytes -= sum(removed)
        return True

    def bookmark(self, job_id: str) -> str | None:
        """The state that was kept with the last report of a job."""
        rows = self._read("SELECT state FROM bookmark WHERE job_id = ?", (job_id,))
        return str(rows[0][0]) if rows else None

    def put_bookmark(self, mark: Bookmark) -> bool:
        """Keep the place in a log."""
        return self._write(lambda db: _put_bookmark(db, mark))

    def forget_bookmark(self, job_id: str) -> bool:
        """Forget the place in a log."""
        return self._write(lambda db: db.execute("DELETE FROM bookmark WHERE job_id = ?", (job_id,)))

    def keep_bound(self, *, max_reports: int, max_bytes: int) -> None:
        """Let the oldest log lines go while there is too much."""
        while self.count > max_reports or self.bytes > max_bytes:
            before = (self.count, self.bytes)
            try:
                if not self._cut(max(1, self.count - max_reports)) or (self.count, self.bytes) == before:
                    return
            except sqlite3.DatabaseError:
                self._roll_back()
                return

    def make_reserve(self) -> None:
        """Lay room aside that a full disk gives back."""
        try:
            if not self._reserve.exists() or self._reserve.stat().st_size < RESERVE_BYTES:
                with open(self._reserve, "wb") as file:
                    file.write(b"\0" * RESERVE_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            self.problems["full"] = f"The agent's disk is full: {error.strerror}."

    def close(self) -> None:
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            return self._set_aside(error)

    def _connect(self) -> sqlite3.Connection:
        existed = self.path.exists()
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            if not existed:
                self.path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 1048576")
            found = db.execute("PRAGMA quick_check(1)").fetchone()
            if found[0] != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found[0]}")
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, error: Exception) -> sqlite3.Connection:
        aside = self.path.with_name(f"outbox.db.corrupt-{time.strftime('%Y%m%dT%H%M%S')}-{ids.new_ulid()[-4:]}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        log.error("The outbox was damaged (%s) and was moved to %s; a new one was begun.", error, aside)
        self.problems["corrupt"] = f"The outbox was damaged and a new one was begun; the old one is {aside.name}."
        self.was_reset = True
        return self._connect()

    def _measure(self) -> tuple[int, int, int]:
        [(last, count, size)] = self._read("SELECT max(seq), count(*), coalesce(sum(size), 0) FROM report", ())
        return last or 0, count, size

    def _read(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self._restart(error)
                return self._db.execute(query, values).fetchall()
            log.warning("The outbox cannot be read: %s", error)
            return []

    def _restart(self, error: Exception) -> None:
        self._db.close()
        self._db = self._set_aside(error)
        self._restarted()
        self.count = self.bytes = 0

    def _write(self, change: Callable[[sqlite3.Connection], Any]) -> bool:
        """Whether the change is durable; False when the disk refuses it even after room was made."""
        return self._attempt(change) or (self._make_room() and self._attempt(change))

    def _attempt(self, change: Callable[[sqlite3.Connection], Any]) -> bool:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            change(self._db)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._roll_back()
            if _is_damage(error):
                self._restart(error)
                return self._attempt(change)
            self.problems["full"] = (
                f"The outbox cannot be written ({error}); reports are kept in memory. Free some disk space."
            )
            return False
        self.problems.pop("full", None)
        return True

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.DatabaseError:
            log.debug("nothing to roll back")

    def _make_room(self) -> bool:
        """Give back the reserve, then turn the oldest log batches into cut marks; True if anything was freed."""
        freed = False
        with contextlib.suppress(OSError):
            self._reserve.unlink()
            freed = True
        try:
            freed = self._cut(max(1, self._droppable() // 2)) or freed
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError:
            self._roll_back()
        return freed

    def _droppable(self) -> int:
        return int(
            self._db.execute("SELECT count(*) FROM report WHERE type = 'job.log' AND cut_lines = 0").fetchone()[0]
        )

    def _cut(self, batches: int) -> bool:
        """Replace the oldest log batches by one cut mark per job, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        rows = self._db.execute(
            "SELECT seq, id, type, job_id, frame, cut_lines FROM report WHERE type = 'job.log' AND cut_lines = 0"
            " ORDER BY seq LIMIT ?",
            (batches,),
        ).fetchall()
        for row in rows:
            self._cut_row(Report(*row))
        self._db.execute("COMMIT")
        self.cuts += len(rows)
        [(count, size)] = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM report").fetchall()
        self.count, self.bytes = count, size
        return bool(rows)

    def _cut_row(self, report: Report) -> None:
        mark = self._db.execute(
            "SELECT seq, id, type, job_id, frame, cut_lines FROM report"
            " WHERE type = 'job.log' AND job_id = ? AND cut_lines > 0 ORDER BY seq DESC LIMIT 1",
            (report.job_id,),
        ).fetchone()
        if mark:
            grown = cut(Report(*mark), report)
            self._db.execute("DELETE FROM report WHERE seq = ?", (report.seq,))
        else:
            grown = cut(report, None)
        self._db.execute(
            "UPDATE report SET id = ?, frame = ?, size = ?, cut_lines = ? WHERE seq = ?",
            (grown.id, grown.frame, grown.size, grown.cut_lines, grown.seq),
        )


def _put_bookmark(db: sqlite3.Connection, mark: tuple[str, str]) -> None:
    db.execute("INSERT INTO bookmark VALUES (?, ?) ON CONFLICT (job_id) DO UPDATE SET state = excluded.state", mark)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text or "file is encrypted" in text
