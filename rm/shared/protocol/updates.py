"""Updates of the agent: the orders, and how far it is."""

from dataclasses import dataclass
from typing import Any

from rm.shared.fields import Anything, Flag, Instant, Number, Optional, Text, Ulid, Whole, field


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
