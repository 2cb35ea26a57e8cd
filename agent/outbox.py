"""Reports that wait for the server's answer: on disk, ordered, bounded; results never drop."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agent.report import LOG, Report, cut
from rm.shared import ids
from rm.shared.protocol import FROM_AGENT, SnapshotsReport, encode

log = logging.getLogger("agent.outbox")

RESERVE_BYTES = 256 * 1024
HELD_LOG_BYTES = 8 * 1024 * 1024
_NAMES = {type_: name for name, type_ in FROM_AGENT.items()}
_LISTING = _NAMES[SnapshotsReport]

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


class Outbox:
    """At-least-once delivery: what is added stays until `done` names it, over crashes and full disks."""

    def __init__(
        self,
        path: Path,
        *,
        max_reports: int = 20_000,
        max_bytes: int = 64 * 1024 * 1024,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.was_reset = False
        self.cuts = 0
        self.wake = wake
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._held: list[tuple[Report, tuple[str, str] | None]] = []
        self._done_unsaved: set[str] = set()
        self._newest_listings: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._reserve = path.with_name("outbox.reserve")
        self._db = self._open()
        self._next_seq, self._count, self._bytes = self._measure()
        self._make_reserve()

    # ---- what others call ---------------------------------------------------------------------------

    def add(self, payload: Any, *, bookmark: tuple[str, str] | None = None) -> str:
        """Keep a report until it is answered; its bookmark (job id, state) is kept in the same transaction."""
        return self.add_all([payload], bookmark=bookmark)[0]

    def add_all(self, payloads: list[Any], *, bookmark: tuple[str, str] | None = None) -> list[str]:
        """Keep several reports in one transaction, with the bookmark that belongs behind the last.

        A list of a repository's snapshots takes the place of the one before, which nobody needs any more.
        """
        made = [(payload, ids.new_ulid()) for payload in payloads]
        with self._lock:
            self._replace_listings({one.repository_id for one in payloads if isinstance(one, SnapshotsReport)})
            for payload, message_id in made:
                job_id = str(getattr(payload, "job_id", "") or getattr(payload, "attempt_id", ""))
                if isinstance(payload, SnapshotsReport):
                    job_id = payload.repository_id
                frame = encode(payload, message_id)
                self._held.append((Report(self._next_seq, message_id, _NAMES[type(payload)], job_id, frame), None))
                self._next_seq += 1
            if made and bookmark:
                self._held[-1] = (self._held[-1][0], bookmark)
            self._save_held()
            self._keep_bound()
        self.wake()
        return [message_id for _, message_id in made]

    def is_saved(self) -> bool:
        """Whether every report is on the disk."""
        with self._lock:
            return not self._held

    def has(self, *, kind: str, job_id: str) -> bool:
        """Whether a report of that kind about that job still waits."""
        with self._lock:
            if any(r.type == kind and r.job_id == job_id for r, _ in self._held):
                return True
            rows = self._read("SELECT id FROM report WHERE type = ? AND job_id = ?", (kind, job_id))
            return any(row[0] not in self._done_unsaved for row in rows)

    def pending(self, *, after: int, limit: int) -> list[Report]:
        """The oldest waiting reports behind a sequence number, in order."""
        with self._lock:
            rows = self._read(
                "SELECT seq, id, type, job_id, frame, cut_lines FROM report WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit + len(self._done_unsaved)),
            )
            found = [Report(*row) for row in rows] + [r for r, _ in self._held if r.seq > after]
            return [r for r in found if r.id not in self._done_unsaved][:limit]

    def done(self, message_id: str) -> None:
        """The server has answered: the report need not be repeated."""
        with self._lock:
            before = len(self._held)
            kept = [(r, b) for r, b in self._held if r.id != message_id]
            if len(kept) != before:
                # What has been answered need not reach the disk, but the place it marks in a log does.
                dropped = [b for r, b in self._held if r.id == message_id]
                self._held = kept
                for mark in filter(None, dropped):
                    self._write(partial(_put_bookmark, mark=mark))
                return
            self._done_unsaved.add(message_id)
            self._save_done()

    def bookmark(self, job_id: str) -> str | None:
        """The state that was kept with the last report of a job."""
        with self._lock:
            for _, mark in reversed(self._held):
                if mark and mark[0] == job_id:
                    return mark[1]
            rows = self._read("SELECT state FROM bookmark WHERE job_id = ?", (job_id,))
            return str(rows[0][0]) if rows else None

    def forget_bookmark(self, job_id: str) -> None:
        """The job has ended; its place in the log is no longer needed."""
        with self._lock:
            self._held = [(r, None if b and b[0] == job_id else b) for r, b in self._held]
            self._write(lambda db: db.execute("DELETE FROM bookmark WHERE job_id = ?", (job_id,)))

    def load(self) -> tuple[int, int]:
        """How many reports wait, and their bytes."""
        with self._lock:
            held = sum(r.size for r, _ in self._held)
            return self._count + len(self._held) - len(self._done_unsaved), max(0, self._bytes) + held

    def problems(self) -> list[str]:
        """What is wrong with the outbox, in sentences for people."""
        with self._lock:
            return list(self._problems.values())

    def retry(self) -> None:
        """Try again to bring to disk what a full disk refused."""
        with self._lock:
            if self._held:
                self._save_held()
            if self._done_unsaved:
                self._save_done()
            if not self._held and not self._reserve.exists():
                self._make_reserve()

    def close(self) -> None:
        with self._lock:
            self.retry()
            self._db.close()

    # ---- disk ---------------------------------------------------------------------------------------

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
        self._problems["corrupt"] = f"The outbox was damaged and a new one was begun; the old one is {aside.name}."
        self.was_reset = True
        return self._connect()

    def _measure(self) -> tuple[int, int, int]:
        [(last, count, size)] = self._read("SELECT max(seq), count(*), coalesce(sum(size), 0) FROM report", ())
        return (last or 0) + 1, count, size

    def _make_reserve(self) -> None:
        try:
            if not self._reserve.exists() or self._reserve.stat().st_size < RESERVE_BYTES:
                with open(self._reserve, "wb") as file:
                    file.write(b"\0" * RESERVE_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            self._problems["full"] = f"The agent's disk is full: {error.strerror}."

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
        self._done_unsaved.clear()
        self._count = self._bytes = 0

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
            self._problems["full"] = (
                f"The outbox cannot be written ({error}); reports are kept in memory. Free some disk space."
            )
            return False
        self._problems.pop("full", None)
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
            freed = self._cut_on_disk(max(1, self._droppable() // 2)) or freed
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError:
            self._roll_back()
        return freed

    def _replace_listings(self, repository_ids: set[str]) -> None:
        """What is held or kept of these repositories' lists before this moment goes when the new ones are kept."""
        self._newest_listings |= dict.fromkeys(repository_ids, self._next_seq)
        self._held = [
            (report, mark)
            for report, mark in self._held
            if mark or report.type != _LISTING or report.job_id not in repository_ids
        ]

    def _save_held(self) -> None:
        waiting, listings = list(self._held), dict(self._newest_listings)
        removed: list[int] = []

        def change(db: sqlite3.Connection) -> None:
            removed.clear()
            for repository_id, first in listings.items():
                query = "DELETE FROM report WHERE type = ? AND job_id = ? AND seq < ? RETURNING size"
                removed.extend(size for (size,) in db.execute(query, (_LISTING, repository_id, first)).fetchall())
            for report, mark in waiting:
                db.execute(
                    "INSERT INTO report (seq, id, type, job_id, size, cut_lines, frame) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (report.seq, report.id, report.type, report.job_id, report.size, report.cut_lines, report.frame),
                )
                if mark:
                    _put_bookmark(db, mark)

        if self._write(change):
            self._held.clear()
            self._newest_listings.clear()
            self._count += len(waiting) - len(removed)
            self._bytes += sum(report.size for report, _ in waiting) - sum(removed)
            return
        self._bound_held()

    def _save_done(self) -> None:
        gone = sorted(self._done_unsaved)
        removed = [0, 0]

        def change(db: sqlite3.Connection) -> None:
            removed[:] = [0, 0]
            for message_id in gone:
                row = db.execute("DELETE FROM report WHERE id = ? RETURNING size", (message_id,)).fetchone()
                if row:
                    removed[0] += 1
                    removed[1] += row[0]

        if self._write(change):
            self._done_unsaved.difference_update(gone)
            self._count -= removed[0]
            self._bytes -= removed[1]

    # ---- bound --------------------------------------------------------------------------------------

    def _keep_bound(self) -> None:
        while self._count > self._max_reports or self._bytes > self._max_bytes:
            before = (self._count, self._bytes)
            try:
                if (
                    not self._cut_on_disk(max(1, self._count - self._max_reports))
                    or (self._count, self._bytes) == before
                ):
                    return
            except sqlite3.DatabaseError:
                self._roll_back()
                return

    def _droppable(self) -> int:
        return int(
            self._db.execute("SELECT count(*) FROM report WHERE type = 'job.log' AND cut_lines = 0").fetchone()[0]
        )

    def _cut_on_disk(self, batches: int) -> bool:
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
        self._count, self._bytes = count, size
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

    def _bound_held(self) -> None:
        """Keep memory bounded while the disk is full: the oldest log batches become cut marks there too."""
        size = sum(r.size for r, _ in self._held)
        at = 0
        while size > HELD_LOG_BYTES and at < len(self._held):
            report, mark = self._held[at]
            if report.type != LOG or report.cut_lines:
                at += 1
                continue
            before = next(
                (
                    i
                    for i in range(at - 1, -1, -1)
                    if self._held[i][0].cut_lines and self._held[i][0].job_id == report.job_id
                ),
                None,
            )
            size -= report.size
            self.cuts += 1
            if before is None:
                grown = cut(report, None)
                self._held[at] = (grown, mark)
                size += grown.size
                at += 1
            else:
                self._held[before] = (cut(self._held[before][0], report), mark or self._held[before][1])
                del self._held[at]


def _put_bookmark(db: sqlite3.Connection, mark: tuple[str, str]) -> None:
    db.execute("INSERT INTO bookmark VALUES (?, ?) ON CONFLICT (job_id) DO UPDATE SET state = excluded.state", mark)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text or "file is encrypted" in text
