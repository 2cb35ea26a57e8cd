"""What a host does by itself: its source groups and schedules, and what it says of them."""

from dataclasses import dataclass

from rm.shared.fields import Flag, Instant, Listing, Optional, Record, Text, Ulid, Whole, field

MAX_GROUPS = 50
MAX_SCHEDULES = 100
GROUP_STATES = ("idle", "waiting", "running", "retrying")


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
class ScheduleSet:
    """The full desired set of source groups and schedules of a host."""

    version: int = field(Whole())
    schedules: list[ScheduleSpec] = field(Listing(Record(ScheduleSpec), MAX_SCHEDULES), default_factory=list)
    groups: list[SourceGroupSpec] = field(Listing(Record(SourceGroupSpec), MAX_GROUPS), default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ScheduleAck:
    """Which desired state the agent has applied and stored."""

    schedule_version: int = field(Whole(), default=0)
    config_version: int = field(Whole(), default=0)
    problem: str = field(Text(500), "why it could not be applied", default="")


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
