"""What a decision about scheduled runs is made from, and what comes out of it."""

from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from agent.schedules.record import Record, Run
from agent.schedules.stored import Stored
from agent.schedules.waking import Gap
from rm.shared.protocol import JobFinished, RunsSkipped

WAITING, RUNNING, ENDING = "waiting", "running", "ending"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of jobs: of fired ones their stage or result, and the backups that somebody else ordered."""

    stages: dict[str, str] = field(default_factory=dict)
    ended: dict[str, JobFinished] = field(default_factory=dict)
    ordered: dict[str, str] = field(default_factory=dict)
    waits_for: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a decision is made from."""

    stored: Stored
    record: Record
    now: datetime
    zone: tzinfo
    host: str
    is_new: bool = False
    gaps: tuple[Gap, ...] = ()
    known: Known = field(default_factory=Known)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The record as it is to be kept before anything is fired, and what to do then."""

    record: Record
    skipped: list[RunsSkipped]
    fire: list[Run]
    wake_at: datetime | None
    notes: list[str]
    was_set_back: str = ""
