"""Jobs: the order to run or end one, and what the host reports of it."""

from dataclasses import dataclass
from typing import Any

from rm.shared.fields import Anything, Flag, Instant, Listing, Number, Optional, Record, Text, Ulid, Whole, field
from rm.shared.protocol.schedules import SourceGroupSpec

JOB_KINDS = ("backup", "init", "forget", "prune", "check", "unlock", "restore", "diff", "snapshots", "update")
OUTCOMES = ("succeeded", "warnings", "failed", "cancelled", "lost")
LOG_STREAMS = ("out", "err", "agent", "cut")
MAX_LOG_LINES = 100
MAX_LOG_TEXT = 4000


@dataclass(frozen=True, kw_only=True)
class JobStarted:
    """A job began to run on the host."""

    job_id: str = field(Ulid())
    started_at: str | None = field(Optional(Instant()), default=None)
    command: str = field(Text(4000), "the restic command, without secrets", default="")
    kind: str | None = field(Optional(Text(32, JOB_KINDS)), "for a run the agent fired itself", default=None)
    source_group: str | None = field(Optional(Text(200)), default=None)
    schedule_id: str | None = field(Optional(Text(64)), default=None)
    due_at: str | None = field(Optional(Instant()), default=None)
    why_late: str | None = field(Optional(Text(500)), default=None)
    repository_id: str | None = field(Optional(Text(64)), default=None)
    attempt: int = field(Whole(1, 100), "2: the first retry of the same due run", default=1)


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """How far a job is; at most one a second; a newer one replaces an older one."""

    job_id: str = field(Ulid())
    at: str | None = field(Optional(Instant()), default=None)
    percent: float | None = field(Optional(Number(0, 100)), default=None)
    files_done: int = field(Whole(), default=0)
    files_total: int = field(Whole(), default=0)
    bytes_done: int = field(Whole(), default=0)
    bytes_total: int = field(Whole(), default=0)
    bytes_per_second: float | None = field(Optional(Number()), "over the last seconds", default=None)
    seconds_elapsed: float = field(Number(), default=0.0)
    seconds_left: float | None = field(Optional(Number()), default=None)
    current_files: list[str] = field(Listing(Text(4096), 8), default_factory=list)
    error_count: int = field(Whole(), default=0)
    phase: str = field(Text(32), "empty: restic runs; waiting, pre_hook, post_hook, verifying", default="")
    waits_for: str = field(Text(500), "in words, while the phase is waiting", default="")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of a job's log; `n` counts from 1 within the job."""

    n: int = field(Whole(1))
    at: str = field(Instant())
    stream: str = field(Text(16, LOG_STREAMS), "out, err: restic; agent: the agent; cut: lines that were dropped")
    text: str = field(Text(MAX_LOG_TEXT))


@dataclass(frozen=True, kw_only=True)
class JobLog:
    """A batch of log lines."""

    job_id: str = field(Ulid())
    lines: list[LogLine] = field(Listing(Record(LogLine), MAX_LOG_LINES))


@dataclass(frozen=True, kw_only=True)
class JobFinished:
    """The one true end of a job."""

    job_id: str = field(Ulid())
    outcome: str = field(Text(16, OUTCOMES))
    exit_code: int | None = field(Optional(Whole(-255, 255)), default=None)
    reason: str = field(Text(64), "short code: locked, wrong_password, unreachable, no_repository …", default="")
    message: str = field(Text(2000), "one sentence for people", default="")
    started_at: str | None = field(Optional(Instant()), default=None)
    finished_at: str | None = field(Optional(Instant()), default=None)
    summary: dict[str, Any] = field(Anything(), "of restic: snapshot_id, files_new, data_added …", default_factory=dict)
    kind: str | None = field(Optional(Text(32, JOB_KINDS)), "for a run the agent fired itself", default=None)
    source_group: str | None = field(Optional(Text(200)), default=None)
    schedule_id: str | None = field(Optional(Text(64)), default=None)
    due_at: str | None = field(Optional(Instant()), default=None)
    why_late: str | None = field(Optional(Text(500)), default=None)
    repository_id: str | None = field(Optional(Text(64)), default=None)
    attempt: int = field(Whole(1, 100), default=1)


@dataclass(frozen=True, kw_only=True)
class FiredRun:
    """How a run came about that the agent fired itself."""

    schedule_id: str = field(Text(64), default="")
    due_at: str = field(Instant())
    why_late: str = field(Text(500), default="")
    attempt: int = field(Whole(1, 100), default=1)


@dataclass(frozen=True, kw_only=True)
class CommandRun:
    """Run a job; idempotent by job_id. With `already_started` only report on it, never start it anew."""

    job_id: str = field(Ulid())
    kind: str = field(Text(32, JOB_KINDS))
    repository_id: str = field(Text(64), default="")
    source_group: str = field(Text(200), "name of the group; the restic tag", default="")
    includes: list[str] = field(Listing(Text(4096), 200), default_factory=list)
    excludes: list[str] = field(Listing(Text(4096), 500), default_factory=list)
    hostname: str = field(Text(253), "the name that snapshots carry", default="")
    already_started: bool = field(Flag(), default=False)
    parameters: dict[str, Any] = field(Anything(5000), default_factory=dict)
    group: SourceGroupSpec | None = field(
        Optional(Record(SourceGroupSpec)), "of a backup: how; its hooks' shell texts come by schedule.set", default=None
    )
    fired: FiredRun | None = field(
        Optional(Record(FiredRun)), "set by the agent itself, never by a server", default=None
    )
    time_box_seconds: int = field(Whole(0, 604_800), "the agent ends the job after so long; 0: no limit", default=0)


@dataclass(frozen=True, kw_only=True)
class CommandCancel:
    """End a job; idempotent."""

    job_id: str = field(Ulid())
