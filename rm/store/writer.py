"""The one writer of the noisy stream: heartbeats, progress and log lines, committed together every 200 ms."""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peewee import DatabaseError

from rm.domain.jobs import sample_at
from rm.events import Event, EventBus, HostChanged, HostSeen, JobLogGrew, JobProgressed
from rm.shared import instants
from rm.shared.protocol import Heartbeat, JobProgress, LogLine
from rm.store import database
from rm.store.database import db

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
# so many lines are not made to wait for the flush
FLUSH_LINES = 5_000
MAX_WAITING_LINES = 20_000
MAX_LINES_PER_JOB = 100_000
RETRY_SECONDS = 1.0

# made once: json.dumps makes a new one for each call that asks for anything special
_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

NO_SPACE = "lines are missing from here on: the server's disk is almost full, and it kept the result only"

Done = Callable[[bool], None]


@dataclass
class _Batch:
    heartbeats: dict[str, tuple[datetime, Heartbeat]] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    progress: dict[str, tuple[str, datetime, JobProgress]] = field(default_factory=dict)
    samples: list[tuple[str, int, int]] = field(default_factory=list)
    lines: list[tuple[str, str, list[LogLine], Done]] = field(default_factory=list)
    line_count: int = 0

    def __bool__(self) -> bool:
        return bool(self.heartbeats or self.seen or self.progress or self.lines)


class Writer:
    """Takes the noisy stream from every session; `done(stored)` is called once lines are committed or given back."""

    def __init__(self, bus: EventBus, *, drops_lines: Callable[[], bool] = lambda: False) -> None:
        self._bus = bus
        # so that results still fit when the disk fills up; an agent whose lines were not answered would hold its
        # results back behind them
        self._drops_lines = drops_lines
        self._cut_jobs: set[str] = set()
        self._changed = threading.Condition()
        self._batch = _Batch()
        self._flushing_lines = 0
        self._has_enough = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._last_round = time.monotonic()
        self._trouble: str | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Commit what waits and end."""
        with self._changed:
            self._is_stopping = True
            self._has_enough.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def trouble(self) -> str | None:
        """Why nothing can be written just now, or None when all is well."""
        if self._thread is None or not self._thread.is_alive():
            return "the writer does not run"
        if time.monotonic() - self._last_round > 15:
            return "the writer hangs"
        return self._trouble

    def waiting_lines(self) -> int:
        """How many log lines were taken and are not committed yet."""
        return self._batch.line_count + self._flushing_lines

    def heartbeat(self, *, host_id: str, at: datetime, beat: Heartbeat) -> None:
        with self._changed:
            self._batch.heartbeats[host_id] = (at, beat)
            self._changed.notify()

    def seen(self, *, host_id: str, at: datetime) -> None:
        """Any frame is a sign of life: a host that is busy reporting is never taken for one that is away."""
        with self._changed:
            self._batch.seen[host_id] = at
            self._changed.notify()

    def progress(self, *, job_id: str, host_id: str, at: datetime, progress: JobProgress) -> None:
        """Replaces the progress of the job that still waits; only its throughput sample is kept besides."""
        with self._changed:
            self._batch.progress[job_id] = (host_id, at, progress)
            sample = (job_id, sample_at(progress.seconds_elapsed), progress.bytes_done)
            if len(self._batch.samples) < MAX_WAITING_LINES:
                self._batch.samples.append(sample)
            self._changed.notify()

    def log_lines(self, *, job_id: str, host_id: str, lines: list[LogLine], done: Done) -> None:
        """Takes a batch of lines; waits while too many wait already, so that the sender is read more slowly."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._batch.line_count + self._flushing_lines < MAX_WAITING_LINES or self._is_stopping, 30
            )
            self._batch.lines.append((job_id, host_id, lines, done))
            self._batch.line_count += len(lines)
            if self._batch.line_count >= FLUSH_LINES:
                self._has_enough.set()
            self._changed.notify()

    def _run(self) -> None:
        with database.connection():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._batch) or self._is_stopping, 5)
                    is_last = self._is_stopping
                    self._last_round = time.monotonic()
                    if not self._batch and not is_last:
                        continue
                if not is_last:
                    self._has_enough.wait(FLUSH_SECONDS)
                with self._changed:
                    batch, self._batch = self._batch, _Batch()
                    self._flushing_lines = batch.line_count
                    self._has_enough.clear()
                if batch:
                    self._flush_safely(batch)
                with self._changed:
                    self._flushing_lines = 0
                    self._changed.notify_all()
                if is_last:
                    return

    def _flush_safely(self, batch: _Batch) -> None:
        try:
            self._flush(batch)
        except Exception as error:
            # Whatever it was, the one writer must go on: without it every host falls silent.
            log.exception("the writer failed on a batch")
            self._trouble = f"the writer failed: {error}"
            _tell(batch, stored=False)

    def _flush(self, batch: _Batch) -> None:
        for is_final in (False, False, True):
            try:
                cut = self._cut_jobs if self._drops_lines() else None
                events = _store(batch, cut)
            except (DatabaseError, sqlite3.Error) as error:
                self._trouble = f"the database cannot be written: {_reason(error)}"
                if not is_final and not database.is_disk_trouble(error):
                    time.sleep(RETRY_SECONDS / 4)
                    continue
                # Not stored, so not acknowledged: the agent keeps the lines and sends them again.
                log.error("could not store %s log lines: %s", batch.line_count, _reason(error))
                _tell(batch, stored=False)
                return
            self._trouble = None
            self._cut_jobs = self._cut_jobs | {line[0] for line in batch.lines} if cut is not None else set()
            _tell(batch, stored=True)
            for event in events:
                self._bus.publish(event)
            return


def _tell(batch: _Batch, *, stored: bool) -> None:
    for _, _, _, done in batch.lines:
        try:
            done(stored)
        except Exception:
            log.exception("a session could not be told about its log lines")


def _reason(error: BaseException) -> BaseException:
    """What went wrong first: SQLite rolls back by itself on a full disk, and peewee's own rollback then fails too."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _store(batch: _Batch, cut: set[str] | None) -> list[Event]:
    """Keep a batch; `cut` is None, or the jobs whose logs say already that lines are missing: the rest is left off."""
    connection = db.connection()
    events: list[Event] = []
    with db.atomic():
        for host_id, (_, beat) in batch.heartbeats.items():
            problems = _TO_JSON.encode(beat.problems)
            next_run = min((run.due_at for run in beat.next_runs), default=None)
            changed = connection.execute(
                "UPDATE hosts SET problems = ?1, next_run_at = ?2"
                " WHERE id = ?3 AND (problems <> ?1 OR next_run_at IS NOT ?2)",
                (problems, next_run, host_id),
            ).rowcount
            events.append(HostChanged(host_id) if changed else HostSeen(host_id))
        connection.executemany(
            "UPDATE hosts SET last_seen_at = ?1 WHERE id = ?2 AND (last_seen_at IS NULL OR last_seen_at < ?1)",
            [(instants.to_text(at), host_id) for host_id, (at, _) in batch.heartbeats.items()]
            + [(instants.to_text(at), host_id) for host_id, at in batch.seen.items()],
        )
        events += [HostSeen(host_id) for host_id in batch.seen if host_id not in batch.heartbeats]
        connection.executemany(
            "UPDATE jobs SET last_sign_at = ? WHERE id = ? AND host_id = ? AND state = 'running'",
            [
                (instants.to_text(at), beat.running_job, host_id)
                for host_id, (at, beat) in batch.heartbeats.items()
                if beat.running_job
            ],
        )
        connection.executemany(
            "UPDATE jobs SET progress = ?, last_sign_at = ? WHERE id = ? AND state = 'running'",
            [
                (_progress_text(progress), instants.to_text(at), job_id)
                for job_id, (_, at, progress) in batch.progress.items()
            ],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO job_samples (job_id, elapsed_seconds, bytes_done)"
            " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
            batch.samples,
        )
        # A job may have gone with its host meanwhile; OR IGNORE would not forgive the missing reference.
        # Looked up once per job, as there may be thousands of lines of each.
        there = {job_id for job_id in {line[0] for line in batch.lines} if _is_there(connection, job_id)}
        connection.executemany(
            "INSERT OR IGNORE INTO job_log_lines (job_id, n, at, stream, text) VALUES (?, ?, ?, ?, ?)",
            [
                row
                for job_id, _, lines, _ in batch.lines
                if job_id in there
                for row in (_line_rows(job_id, lines) if cut is None else _cut_rows(job_id, lines, cut))
            ],
        )
    events += [JobProgressed(job_id, host_id) for job_id, (host_id, _, _) in batch.progress.items()]
    events += [JobLogGrew(job_id, host_id) for job_id, host_id in {(j, h) for j, h, _, _ in batch.lines}]
    return events


def _is_there(connection: sqlite3.Connection, job_id: str) -> bool:
    return connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone() is not None


def _line_rows(job_id: str, lines: list[LogLine]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        if line.n <= MAX_LINES_PER_JOB:
            rows.append((job_id, line.n, line.at, line.stream, line.text))
        elif not rows or rows[-1][1] != MAX_LINES_PER_JOB + 1:
            text = f"the rest of this log is not kept: a job may log {MAX_LINES_PER_JOB} lines"
            rows.append((job_id, MAX_LINES_PER_JOB + 1, line.at, "cut", text))
    return rows


def _cut_rows(job_id: str, lines: list[LogLine], cut: set[str]) -> list[tuple[Any, ...]]:
    """The one line that stands for those that are not kept from here on."""
    if job_id in cut or not lines:
        return []
    return [(job_id, lines[0].n, lines[0].at, "cut", NO_SPACE)]


def _progress_text(progress: JobProgress) -> str:
    body = {name: value for name, value in vars(progress).items() if name != "job_id"}
    return _TO_JSON.encode(body)
