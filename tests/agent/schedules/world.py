"""One host on a fake clock: it sleeps, is switched off, its agent dies, its clock is set; jobs are only noted."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from agent.schedules.firing import Schedules
from agent.schedules.record import Record
from agent.schedules.stored import Stored
from agent.schedules.view import ENDING, RUNNING, WAITING
from agent.schedules.waking import Gap, Moment
from rm.shared import ids, instants
from rm.shared.protocol import CommandRun, JobFinished, RunsSkipped, ScheduleSet, ScheduleSpec, SourceGroupSpec

UTC = timezone.utc
LOOK = timedelta(minutes=10)


class FakeClocks:
    """The clocks of a host in a test."""

    def __init__(self, start: datetime, zone: str = "UTC") -> None:
        self.true = start
        self.offset = timedelta(0)
        self.boots = 1
        self.booted = start - timedelta(minutes=5)
        self.slept = timedelta(0)
        self._zone = ZoneInfo(zone)

    @property
    def wall(self) -> datetime:
        return self.true + self.offset

    def moment(self) -> Moment:
        up = self.true - self.booted
        return Moment(
            wall=self.wall,
            boot_id=f"boot {self.boots}",
            boottime=up.total_seconds(),
            monotonic=(up - self.slept).total_seconds(),
        )

    def zone(self) -> ZoneInfo:
        return self._zone

    def sleep(self, length: timedelta) -> None:
        self.true += length
        self.slept += length

    def reboot(self, off: timedelta) -> None:
        self.true += off
        self.boots += 1
        self.booted = self.true - timedelta(seconds=30)
        self.slept = timedelta(0)


@dataclass
class FakeStored:
    """A stored set that only remembers."""

    stored: Stored | None = None
    problem: str = ""

    def load(self) -> Stored | None:
        return self.stored

    @property
    def version(self) -> int:
        return self.stored.wanted.version if self.stored else 0

    def group(self, name: str) -> SourceGroupSpec | None:
        return next((g for g in self.stored.wanted.groups if g.name == name), None) if self.stored else None

    def save(self, wanted: ScheduleSet, *, at: datetime) -> None:
        self.stored = Stored(wanted=wanted, applied_at=at)


@dataclass
class FakeRecord:
    record: Record | None = None
    problem: str = ""
    saves: int = 0

    def load(self, *, is_expected: bool = False) -> Record | None:
        return self.record

    def save(self, record: Record) -> None:
        self.record = record
        self.saves += 1


@dataclass
class FakeBeat:
    last: Moment | None = None
    gaps: tuple[Gap, ...] = ()

    def load(self) -> tuple[Moment | None, tuple[Gap, ...]]:
        return self.last, self.gaps

    def save(self, last: Moment, gaps: tuple[Gap, ...]) -> None:
        self.last, self.gaps = last, gaps


@dataclass
class FakeOutbox:
    reports: list[Any] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)

    def add_all(self, payloads: list[Any], *, bookmark: tuple[str, str] | None = None) -> list[str]:
        self.reports += payloads
        if bookmark:
            self.marks[bookmark[0]] = bookmark[1]
        return []

    def bookmark(self, name: str) -> str | None:
        return self.marks.get(name)


@dataclass
class FakeJob:
    order: CommandRun
    accepted: datetime
    length: timedelta
    ends: str
    boot: int
    left: timedelta | None = None
    result: JobFinished | None = None


class FakeJobs:
    """Jobs whose journal never forgets: one after the other, each takes its time."""

    def __init__(self, clocks: FakeClocks, chance: random.Random) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.starts: Counter[str] = Counter()
        self.is_held = False
        self.lengths: Callable[[], timedelta] = lambda: timedelta(minutes=chance.choice([1, 3, 20, 20, 90]))
        self.endings: Callable[[], str] = lambda: ""
        self._clocks = clocks

    def accept(self, order: CommandRun) -> None:
        if order.job_id in self.jobs:
            return
        if order.fired is not None:
            pending = [j for j in self.pending() if j.order.source_group == order.source_group]
            assert not pending, "at most one pending run per group"
        self.jobs[order.job_id] = FakeJob(
            order, self._clocks.wall, self.lengths(), self.endings(), boot=self._clocks.boots
        )

    def pending(self) -> list[FakeJob]:
        return [job for job in self.jobs.values() if job.result is None]

    def result_of(self, job_id: str) -> JobFinished | None:
        return self.jobs[job_id].result if job_id in self.jobs else None

    def stage_of(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.result is not None:
            return ""
        if job.left is None:
            return WAITING
        return RUNNING if job.boot == self._clocks.boots else ENDING

    def backups(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for job in self.pending():
            found.setdefault(job.order.source_group, []).append(job.order.job_id)
        return found

    def waits_for(self, job_id: str) -> str:
        return "waits for its turn" if self.stage_of(job_id) == WAITING else ""

    def run(self, length: timedelta) -> bool:
        """Let time pass for the jobs; whether one ended or began."""
        has_changed = False
        while True:
            pending = self.pending()
            under_way = [job for job in pending if job.left is not None]
            job = under_way[0] if under_way else None
            if job is None:
                if not pending or self.is_held:
                    return has_changed
                job = pending[0]
                job.left, job.boot = job.length, self._clocks.boots
                self.starts[job.order.job_id] += 1
                has_changed = True
            if job.boot != self._clocks.boots:
                self.end(job, "failed", "interrupted")
                has_changed = True
                continue
            assert job.left is not None
            if job.left > length:
                job.left -= length
                return has_changed
            length -= job.left
            self.end(job, *(("failed", job.ends) if job.ends else ("succeeded", "")))
            has_changed = True

    def end(self, job: FakeJob, outcome: str, reason: str = "") -> None:
        job.result = JobFinished(
            job_id=job.order.job_id,
            outcome=outcome,
            reason=reason,
            message=f"It {outcome}.",
            finished_at=instants.to_text(self._clocks.wall),
        )

    def until_next_end(self) -> timedelta | None:
        return min((job.left for job in self.pending() if job.left is not None), default=None)


class World:
    """A host with its schedules."""

    def __init__(self, *, start: datetime, zone: str = "UTC", seed: int = 0, name: str = "host-1") -> None:
        self.clocks = FakeClocks(start, zone)
        self.chance = random.Random(seed)
        self.jobs = FakeJobs(self.clocks, self.chance)
        self.outbox = FakeOutbox()
        self.stored = FakeStored()
        self.record = FakeRecord()
        self.beat = FakeBeat()
        self.name = name
        self.wake_at: datetime | None = None
        self.looks = 0
        self.start_agent()

    def start_agent(self) -> None:
        """A new agent on what the one before has left on the disk."""
        self.schedules = Schedules(
            stored=self.stored,  # type: ignore[arg-type]
            record=self.record,  # type: ignore[arg-type]
            beat=self.beat,  # type: ignore[arg-type]
            jobs=self.jobs,
            outbox=self.outbox,  # type: ignore[arg-type]
            hostname="web1",
            host=self.name,
            clocks=self.clocks,  # type: ignore[arg-type]
        )

    def look(self) -> None:
        self.wake_at = self.schedules.look()
        self.looks += 1

    def set(self, *schedules: ScheduleSpec, groups: list[SourceGroupSpec] | None = None, version: int = 1) -> None:
        """Apply a set; without groups those that the schedules name."""
        names = dict.fromkeys(name for one in schedules for name in one.source_groups)
        found = groups if groups is not None else [SourceGroupSpec(name=name, repository_id="r") for name in names]
        self.schedules.set(ScheduleSet(version=version, schedules=list(schedules), groups=found))
        self.look()

    def be_on(self, length: timedelta) -> None:
        """Time passes while host and agent are on."""
        end = self.clocks.true + length
        while self.clocks.true < end:
            step = min(end - self.clocks.true, LOOK)
            if self.wake_at is not None:
                step = min(step, max(timedelta(seconds=1), self.wake_at - self.clocks.wall))
            ends = self.jobs.until_next_end()
            if ends is not None:
                step = min(step, max(timedelta(seconds=1), ends))
            self.clocks.true += step
            self.jobs.run(step)
            self.look()

    def be_asleep(self, length: timedelta) -> None:
        self.clocks.sleep(length)
        self.look()

    def be_off(self, length: timedelta, *, offset: timedelta | None = None) -> None:
        self.clocks.reboot(length)
        if offset is not None:
            self.clocks.offset = offset
        self.start_agent()
        self.look()

    def be_without_agent(self, length: timedelta) -> None:
        self.clocks.true += length
        self.jobs.run(length)
        self.start_agent()
        self.look()

    def set_clock(self, by: timedelta) -> None:
        self.clocks.offset += by
        self.look()

    def order(self, group: str) -> CommandRun:
        """A person orders a backup."""
        order = CommandRun(job_id=ids.new_ulid(), kind="backup", source_group=group, repository_id="r")
        self.jobs.accept(order)
        return order

    # ---- what came out of it ------------------------------------------------------------------------

    @property
    def skipped(self) -> list[RunsSkipped]:
        return [report for report in self.outbox.reports if isinstance(report, RunsSkipped)]

    def runs(self, group: str | None = None) -> list[FakeJob]:
        """The jobs that schedules fired, in the order in which they were accepted."""
        found = [job for job in self.jobs.jobs.values() if job.order.fired is not None]
        return [job for job in found if group in (None, job.order.source_group)]

    def dues(self, group: str | None = None) -> list[str]:
        """When those runs were due, as the host's clock shows it."""
        return [self.show(due_of(job)) for job in self.runs(group)]

    def show(self, instant: datetime) -> str:
        return instant.astimezone(self.clocks.zone()).strftime("%d %H:%M")

    def told(self) -> list[tuple[str, str, str, int]]:
        """The skipped runs: reason, from, to, how many."""
        return [
            (s.reason, *(self.show(instants.from_text(at)) for at in (s.due_from, s.due_to)), s.count)  # type: ignore[misc]
            for s in self.skipped
        ]


def due_of(job: FakeJob) -> datetime:
    assert job.order.fired
    return instants.from_text(job.order.fired.due_at)


def daily(
    at: str = "15 3 * * *", *, id_: str = "daily", groups: tuple[str, ...] = ("home",), jitter: int = 0
) -> ScheduleSpec:
    return ScheduleSpec(id=id_, cron=at, jitter_seconds=jitter, source_groups=list(groups))


def every(minutes: int, *, id_: str = "often", groups: tuple[str, ...] = ("home",), jitter: int = 0) -> ScheduleSpec:
    return ScheduleSpec(id=id_, every_minutes=minutes, jitter_seconds=jitter, source_groups=list(groups))
