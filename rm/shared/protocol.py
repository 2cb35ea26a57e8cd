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
MAX_GROUPS = 50
MAX_SCHEDULES = 100
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
GROUP_STATES = ("idle", "waiting", "running", "retrying")
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
    features: list[str] = field(
        Listing(Text(64), 64), "what this agent can do: schedules, browse, restore, diff, forget, hooks",
        default_factory=list,
    )  # fmt: skip
    hooks: list[str] = field(Listing(Text(200), 100), "names of the executables in hooks.d", default_factory=list)
    hooks_policy: str = field(
        Text(16), "local: only those executables; server: shell text of the server too", default="local"
    )
    restore_in_place: bool = field(Flag(), "whether the host's owner allows it", default=False)
    restore_directory: str = field(Text(4096), "where restores go by default", default="")


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run that the host's own schedule will start."""

    schedule_id: str = field(Text(64))
    source_group: str = field(Text(200), default="")
    due_at: str = field(Instant())


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """What the host's own schedules do about one source group."""

    source_group: str = field(Text(200))
    code: str = field(Text(16, GROUP_STATES))
    why: str = field(Text(500), "in words: what it waits for, why it is late", default="")
    since: str | None = field(Optional(Instant()), default=None)
    due_at: str | None = field(Optional(Instant()), "of the run that waits or runs", default=None)
    next_at: str | None = field(Optional(Instant()), "when the next run, or the next try, is planned", default=None)


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Sign of life, every 30 s."""

    sent_at: str = field(Instant())
    outbox_reports: int = field(Whole(), "reports that wait for an ack", default=0)
    outbox_bytes: int = field(Whole(), default=0)
    running_job: str | None = field(Optional(Text(26)), default=None)
    next_runs: list[NextRun] = field(Listing(Record(NextRun), 100), default_factory=list)
    problems: list[str] = field(Listing(Text(500), 16), default_factory=list)
    groups: list[GroupState] = field(Listing(Record(GroupState), MAX_GROUPS), default_factory=list)
    timezone: str = field(Text(64), "IANA name of the host's zone, which may change; empty: as in hello", default="")


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
class RunsSkipped:
    """Runs that were due and did not take place, with the reason; `job_id` names the run that stands for them."""

    source_group: str = field(Text(200))
    schedule_id: str = field(Text(64))
    due_from: str = field(Instant())
    due_to: str = field(Instant())
    count: int = field(Whole(1, 1_000_000))
    reason: str = field(Text(64), "still_running, asleep, off, agent_stopped, clock, disabled …")
    message: str = field(Text(500), "one sentence for people", default="")
    job_id: str | None = field(Optional(Ulid()), default=None)


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
    utc_offset_minutes: int | None = field(
        Optional(Whole(-1440, 1440)), "of the time as restic recorded it; retention counts days by it", default=None
    )


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
class SourceGroupSpec:
    """What to back up, and how; the shell texts are secret."""

    name: str = field(Text(200), "the restic tag")
    repository_id: str = field(Text(64), default="")
    includes: list[str] = field(Listing(Text(4096), 200), default_factory=list)
    excludes: list[str] = field(Listing(Text(4096), 500), default_factory=list)
    one_file_system: bool = field(Flag(), default=False)
    exclude_caches: bool = field(Flag(), default=False)
    tags: list[str] = field(Listing(Text(200), 16), "more tags for its snapshots", default_factory=list)
    mode: str = field(Text(16, ("always_on", "intermittent")), default="always_on")
    retries: int = field(Whole(0, 10), "of a run that failed", default=0)
    retry_minutes: int = field(Whole(1, 1440), "before the first retry; doubled for each further one", default=10)
    upload_kib_per_second: int = field(Whole(0, 100_000_000), "0: no limit", default=0)
    download_kib_per_second: int = field(Whole(0, 100_000_000), "0: no limit", default=0)
    pre_hook: str = field(Text(200), "name of an executable in hooks.d; empty: none", default="")
    post_hook: str = field(Text(200), default="")
    pre_shell: str = field(Text(20_000), "shell text; only where the host allows it", default="")
    post_shell: str = field(Text(20_000), default="")
    hook_seconds: int = field(Whole(1, 86_400), "time limit of each hook", default=600)
    lock_wait_seconds: int = field(Whole(0, 86_400), "how long to wait for an exclusive lock", default=7200)
    restic_repository_id: str = field(
        Text(64), "the id that the repository must have; empty: it is not known yet", default=""
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """When to back up: a cron expression in the host's zone, or every so many minutes while the host is on."""

    id: str = field(Text(64))
    cron: str = field(Text(200), "empty: by interval", default="")
    every_minutes: int = field(Whole(0, 525_600), "0: by cron", default=0)
    jitter_seconds: int = field(Whole(0, 86_400), default=0)
    is_enabled: bool = field(Flag(), default=True)
    source_groups: list[str] = field(Listing(Text(200), MAX_GROUPS), default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FiredRun:
    """How a run came about that the agent fired itself."""

    schedule_id: str = field(Text(64), default="")
    due_at: str = field(Instant())
    why_late: str = field(Text(500), default="")
    attempt: int = field(Whole(1, 100), default=1)


@dataclass(frozen=True, kw_only=True)
class ScheduleSet:
    """The full desired set of source groups and schedules of a host."""

    version: int = field(Whole())
    schedules: list[ScheduleSpec] = field(Listing(Record(ScheduleSpec), MAX_SCHEDULES), default_factory=list)
    groups: list[SourceGroupSpec] = field(Listing(Record(SourceGroupSpec), MAX_GROUPS), default_factory=list)


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


@dataclass(frozen=True, kw_only=True)
class CommandBrowse:
    """A question that wants an answer now; answered by browse.result with the same request_id."""

    request_id: str = field(Ulid())
    query: str = field(
        Text(32),
        "test: can the repository be opened? ls: a directory of a snapshot; find: names in a snapshot;"
        " sizes: how much a selection holds",
    )
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
    "schedule.skipped": RunsSkipped,
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
    {
        "job.started", "job.log", "job.finished", "update.result", "schedule.ack", "schedule.skipped",
        "snapshots.report", "repository.stats",
    }
)  # fmt: skip
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
