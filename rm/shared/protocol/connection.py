"""How a connection begins, lives and ends: hello and welcome, the sign of life, and how a message is answered."""

from dataclasses import dataclass
from typing import Any

from rm.shared.fields import Anything, Flag, Instant, Listing, Optional, Record, Text, Whole, field
from rm.shared.protocol.schedules import MAX_GROUPS, GroupState, NextRun

PROTOCOL_VERSION = 1
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
class Welcome:
    """The answer to hello."""

    server_time: str = field(Instant())
    heartbeat_seconds: int = field(Whole(1, 3600))
    host_id: str = field(Text(64))


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
