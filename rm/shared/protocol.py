"""The messages between agent and server: JSON text frames {"type", "id", "payload"} over /ws/agent.

`docs/protocol.md` is generated from this module. Fields are only ever added, with a default; unknown
fields are ignored. Reports in REPEATED are sent again until an `ack` or `error` names their id.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rm.shared import ids
from rm.shared.fields import (
    Anything,
    FieldError,
    Flag,
    Instant,
    Listing,
    Number,
    Optional,
    Record,
    Text,
    Ulid,
    Whole,
    build,
    field,
)

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 1024 * 1024
MAX_LOG_LINES = 100
MAX_LOG_TEXT = 4000
MAX_SNAPSHOTS_PER_REPORT = 200
HELLO_WITHIN_SECONDS = 10
HEARTBEAT_SECONDS = 30
BAD_MESSAGES_IN_A_ROW = 3

ERROR_CODES = (
    "bad_message",
    "unknown_type",
    "too_large",
    "unknown_job",
    "not_yours",
    "conflict",
    "attempt_closed",
    "protocol_too_old",
    "hello_invalid",
    "try_later",
    "internal",
)
JOB_KINDS = ("backup", "init", "forget", "prune", "check", "unlock", "restore", "diff", "snapshots", "update")
OUTCOMES = ("succeeded", "warnings", "failed", "cancelled", "lost")
LOG_STREAMS = ("out", "err", "agent", "cut")

CLOSE_REASONS = {
    1003: "binary frames are not spoken here",
    1009: "frame over 1 MiB",
    1011: "the server failed on this connection",
    1012: "server restarts",
    1013: "slow reader, or the server is full",
    4400: "hello missing or wrong, or three bad messages in a row",
    4403: "the credential was revoked",
    4409: "replaced by a newer connection with the same credential",
    4426: "protocol too old",
}


class ProtocolError(Exception):
    """A frame that cannot be taken; `code` is one of ERROR_CODES, `message_id` what it answers, if known."""

    def __init__(self, code: str, detail: str, message_id: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.message_id = message_id


# ---- agent → server ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hello:
    """Who is calling; the first frame, within 10 s."""

    protocol_version: int = field(Whole(0, 1_000_000), "of this table: 1")
    agent_version: str = field(Text(64))
    agent_seq: int = field(Whole(0, 2**31), "sequence number of the release that runs", default=0)
    running_sha256: str | None = field(Optional(Text(64)), "of the artifact that runs", default=None)
    guard_version: str | None = field(Optional(Text(64)), default=None)
    restic_version: str | None = field(Optional(Text(64)), "null: no restic was found", default=None)
    restic_features: list[str] = field(Listing(Text(64), 64), default_factory=list)
    hostname: str = field(Text(253), default="")
    os: str = field(Text(32), default="linux")
    arch: str = field(Text(32), default="")
    init: str = field(Text(32), "systemd, supervisor, none …", default="")
    boot_id: str = field(Text(64), default="")
    mode: str = field(Text(32), "always_on or intermittent", default="always_on")
    pinned: bool = field(Flag(), default=False)
    schedule_version: int = field(Whole(), "of the schedule set that is applied", default=0)
    config_version: int = field(Whole(), "of the configuration that is applied", default=0)
    running_job: str | None = field(Optional(Text(26)), "job that runs now", default=None)
    update: dict[str, Any] | None = field(
        Optional(Anything()), "update journal: attempt_id, phase, outcome, reason; null when idle", default=None
    )
    os_name: str = field(Text(120), "for people: Debian GNU/Linux 12", default="")
    timezone: str = field(Text(64), "IANA name of the host's zone", default="")
    machine_id: str = field(Text(128), "HMAC of the machine id; never an identity", default="")
    problems: list[str] = field(
        Listing(Text(500), 16), "what the agent knows to be wrong with itself", default_factory=list
    )


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run that the host's own schedule will start."""

    schedule_id: str = field(Text(64))
    source_group: str = field(Text(200), default="")
    due_at: str = field(Instant())


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Sign of life, every 30 s."""

    sent_at: str = field(Instant())
    outbox_reports: int = field(Whole(), "reports that wait for an ack", default=0)
    outbox_bytes: int = field(Whole(), default=0)
    running_job: str | None = field(Optional(Text(26)), default=None)
    next_runs: list[NextRun] = field(Listing(Record(NextRun), 100), default_factory=list)
    problems: list[str] = field(Listing(Text(500), 16), default_factory=list)


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


@dataclass(frozen=True, kw_only=True)
class ScheduleAck:
    """Which desired state the agent has applied and stored."""

    schedule_version: int = field(Whole(), default=0)
    config_version: int = field(Whole(), default=0)
    problem: str = field(Text(500), "why it could not be applied", default="")


@dataclass(frozen=True, kw_only=True)
class RepositoryStats:
    """What is known of a repository; null fields are left as they were."""

    repository_id: str = field(Text(64))
    restic_repository_id: str | None = field(Optional(Text(64)), "the id in restic's own config", default=None)
    total_bytes: int | None = field(Optional(Whole()), default=None)
    snapshot_count: int | None = field(Optional(Whole()), default=None)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One restic snapshot."""

    id: str = field(Text(64))
    time: str = field(Instant())
    hostname: str = field(Text(253), default="")
    username: str = field(Text(253), default="")
    paths: list[str] = field(Listing(Text(4096), 64), default_factory=list)
    tags: list[str] = field(Listing(Text(200), 32), default_factory=list)
    total_bytes: int | None = field(Optional(Whole()), default=None)
    total_files: int | None = field(Optional(Whole()), default=None)
    data_added: int | None = field(Optional(Whole()), default=None)


@dataclass(frozen=True, kw_only=True)
class SnapshotsReport:
    """A part of a full list of snapshots; parts share `listing_id`, and the last replaces the list before."""

    repository_id: str = field(Text(64))
    listing_id: str = field(Ulid())
    taken_at: str = field(Instant())
    total: int = field(Whole(0, 10_000_000))
    part: int = field(Whole(0, 100_000), default=0)
    is_last: bool = field(Flag(), default=True)
    items: list[Snapshot] = field(Listing(Record(Snapshot), MAX_SNAPSHOTS_PER_REPORT), default_factory=list)


@dataclass(frozen=True, kw_only=True)
class BrowseResult:
    """The answer to command.browse."""

    request_id: str = field(Ulid())
    ok: bool = field(Flag())
    reason: str = field(Text(64), default="")
    message: str = field(Text(2000), default="")
    data: dict[str, Any] = field(Anything(20_000), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UpdateProgress:
    """Where an update stands; phase `swapping` is the fence and waits for its answer."""

    attempt_id: str = field(Ulid())
    phase: str = field(Text(32))
    percent: float | None = field(Optional(Number(0, 100)), default=None)
    detail: str = field(Text(2000), default="")


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """How an update ended."""

    attempt_id: str = field(Ulid())
    outcome: str = field(
        Text(16, ("committed", "rolled_back", "refused", "deferred", "failed", "revert_failed", "cancelled"))
    )
    phase: str = field(Text(32), default="")
    reason: str = field(Text(64), default="")
    detail: str = field(Text(2000), default="")


# ---- server → agent ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """The answer to hello."""

    server_time: str = field(Instant())
    heartbeat_seconds: int = field(Whole(1, 3600))
    host_id: str = field(Text(64))


@dataclass(frozen=True, kw_only=True)
class Ack:
    """The report `id` is stored; it need not be repeated."""

    id: str = field(Text(64), "of the message that is answered")


@dataclass(frozen=True, kw_only=True)
class Error:
    """The message `id` was not taken; it is finished too and is not repeated."""

    id: str = field(Text(64), "of the message that is answered, empty if it had none", default="")
    code: str = field(Text(32, ERROR_CODES))
    detail: str = field(Text(2000), default="")
    help: str = field(Text(2000), "what to do about it", default="")


@dataclass(frozen=True, kw_only=True)
class RepositoryConfig:
    """Where a host backs up to; secret, kept in the agent's 0600 file."""

    id: str = field(Text(64))
    name: str = field(Text(200), default="")
    location: str = field(Text(2000), "as restic takes it")
    password: str = field(Text(1000))
    username: str = field(Text(300), "of the backend: rest-server user, access key id …", default="")
    secret: str = field(Text(1000), "of the backend: rest-server password, secret access key …", default="")
    maintenance_username: str = field(Text(300), "of a backend user that may delete; for prune", default="")
    maintenance_secret: str = field(Text(1000), default="")
    maintenance_location: str = field(
        Text(2000), "the same repository where deleting is allowed; empty: the same place", default=""
    )


@dataclass(frozen=True, kw_only=True)
class ConfigSet:
    """The full desired configuration of a host."""

    version: int = field(Whole())
    repositories: list[RepositoryConfig] = field(Listing(Record(RepositoryConfig), 16), default_factory=list)
    credential: str = field(
        Text(200), "new credential: store it together with the rest, then connect with it; empty: as before", default=""
    )
    trust: dict[str, Any] = field(
        Anything(),
        "root_keys[], keyset_version: whom to trust for releases; taken only by an agent that has no root key yet",
        default_factory=dict,
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleSet:
    """The full desired set of source groups and schedules of a host."""

    version: int = field(Whole())
    schedules: list[dict[str, Any]] = field(Listing(Anything(), 200), default_factory=list)


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
    parameters: dict[str, Any] = field(Anything(), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandCancel:
    """End a job; idempotent."""

    job_id: str = field(Ulid())


@dataclass(frozen=True, kw_only=True)
class CommandBrowse:
    """A question that wants an answer now; answered by browse.result with the same request_id."""

    request_id: str = field(Ulid())
    query: str = field(Text(32), "test: can the repository be opened?")
    repository_id: str = field(Text(64), default="")
    parameters: dict[str, Any] = field(Anything(), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandUpdate:
    """Update to one release; idempotent by attempt_id."""

    attempt_id: str = field(Ulid())
    epoch: int = field(Whole())
    keyset_version: int = field(Whole())
    manifest_sha256: str = field(Text(64))
    artifact_sha256: str = field(Text(64))
    version: str = field(Text(64))
    seq: int = field(Whole(0, 2**31))
    not_after: str = field(Instant())
    force: bool = field(Flag(), default=False)
    timers: dict[str, Any] = field(Anything(), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandRollback:
    """Go back to the recorded previous artifact."""

    attempt_id: str = field(Ulid())
    epoch: int = field(Whole())
    to_sha256: str = field(Text(64))
    not_after: str = field(Instant())
    timers: dict[str, Any] = field(Anything(), default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandUpdateCancel:
    """Give up an update; takes effect only before the fence."""

    attempt_id: str = field(Ulid())


FROM_AGENT: dict[str, type] = {
    "hello": Hello,
    "heartbeat": Heartbeat,
    "job.started": JobStarted,
    "job.progress": JobProgress,
    "job.log": JobLog,
    "job.finished": JobFinished,
    "schedule.ack": ScheduleAck,
    "repository.stats": RepositoryStats,
    "snapshots.report": SnapshotsReport,
    "browse.result": BrowseResult,
    "update.progress": UpdateProgress,
    "update.result": UpdateResult,
}
FROM_SERVER: dict[str, type] = {
    "welcome": Welcome,
    "ack": Ack,
    "error": Error,
    "config.set": ConfigSet,
    "schedule.set": ScheduleSet,
    "command.run": CommandRun,
    "command.cancel": CommandCancel,
    "command.browse": CommandBrowse,
    "command.update": CommandUpdate,
    "command.rollback": CommandRollback,
    "command.update_cancel": CommandUpdateCancel,
}
REPEATED = frozenset(
    {"job.started", "job.log", "job.finished", "update.result", "schedule.ack", "snapshots.report", "repository.stats"}
)
_NAMES = {type_: name for name, type_ in (FROM_AGENT | FROM_SERVER).items()}


@dataclass(frozen=True)
class Message:
    """One decoded frame: its type name, its ULID and its typed payload."""

    type: str
    id: str
    payload: Any


def encode(payload: Any, message_id: str | None = None) -> str:
    """The frame that carries a payload; raises ProtocolError too_large beyond 1 MiB."""
    frame = json.dumps(
        {"type": _NAMES[type(payload)], "id": message_id or ids.new_ulid(), "payload": dataclasses.asdict(payload)},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    frame = frame.encode("utf-8", "replace").decode("utf-8")
    if len(frame.encode()) > MAX_FRAME_BYTES:
        raise ProtocolError("too_large", f"the frame is over {MAX_FRAME_BYTES} bytes", message_id)
    return frame


def decode(frame: str, known: dict[str, type]) -> Message:
    """The message in a frame, checked field by field; raises ProtocolError and never anything else."""
    # a character is at most four bytes, so short frames need not be encoded to be counted
    if len(frame) * 4 > MAX_FRAME_BYTES and len(frame.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        raise ProtocolError("too_large", f"the frame is over {MAX_FRAME_BYTES} bytes")
    try:
        raw = _JSON.decode(frame)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad_message", f"not JSON: {error}"[:300]) from error
    if not isinstance(raw, dict):
        raise ProtocolError("bad_message", "a frame is an object with type, id and payload")
    message_id = raw.get("id")
    if not ids.is_ulid(message_id):
        raise ProtocolError("bad_message", "id must be a ULID")
    name = raw.get("type")
    if not isinstance(name, str) or name not in known:
        raise ProtocolError("unknown_type", f"no message is called {str(name)[:60]!r}", message_id)
    try:
        payload = build(known[name], raw.get("payload", {}))
    except (FieldError, RecursionError) as error:
        raise ProtocolError("bad_message", f"{name}: {error}"[:500], message_id) from error
    return Message(name, str(message_id), payload)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# made once: json.loads makes a new decoder for each call that names a parse_constant
_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
