"""A month of twenty hosts with outages, reboots, sleep, dead agents and clocks that are set: all is explained."""

import itertools
import random
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone

import pytest

from agent.schedules import orders
from agent.schedules.planning import CANNOT_HEAL
from rm.shared import instants
from rm.shared.protocol import ScheduleSpec, SourceGroupSpec
from rm.shared.schedule import Timing, due_between, next_due
from tests.agent.schedules.world import FakeJob, World, due_of

UTC = timezone.utc
START = datetime(2026, 10, 2, 12, tzinfo=UTC)
MONTH = timedelta(days=31)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
CRONS = [
    "15 3 * * *", "30 2 * * *", "*/30 * * * *", "0 */4 * * *", "5 9-17 * * 1-5", "45 1 * * SUN", "0 0 * * *",
    "*/30 2 * * *",
]  # fmt: skip
JITTERS = [0, 0, 300, 3600, 40_000]
REASONS = ["unreachable", "locked", "wrong_password", "restic_failed"]


def make_set(chance: random.Random) -> tuple[list[ScheduleSpec], list[SourceGroupSpec]]:
    names = ["home", "database", "mail"][: chance.randint(1, 3)]
    groups = [
        SourceGroupSpec(
            name=n, repository_id="r", retries=chance.choice([0, 0, 2, 5]), retry_minutes=chance.choice([1, 10, 60])
        )
        for n in names
    ]
    schedules = []
    for number in range(chance.randint(1, 3)):
        some = chance.sample(names, chance.randint(1, len(names)))
        is_cron = chance.random() < 0.7
        schedules.append(
            ScheduleSpec(
                id=f"schedule-{number}",
                cron=chance.choice(CRONS) if is_cron else "",
                every_minutes=0 if is_cron else chance.choice([90, 360, 1440]),
                jitter_seconds=chance.choice(JITTERS),
                source_groups=some,
            )
        )
    return schedules, groups


def live(world: World, chance: random.Random, counts: Counter[str]) -> None:
    """A month in this host's life, with its last hours undisturbed."""
    end = START + MONTH
    is_calm = chance.random() < 0.25
    set_back_at = START - timedelta(days=1)
    while world.clocks.true < end:
        world.be_on(timedelta(hours=min(90.0, chance.expovariate(1 / (60 if is_calm else 14)) + 0.01)))
        if chance.random() < 0.3:
            world.order(chance.choice([g.name for g in world.stored.stored.wanted.groups]))  # type: ignore[union-attr]
        kind = chance.choice(["asleep", "asleep", "off", "off", "agent", "kill", "forward", "back", "wakes"])
        counts[kind] += 1
        length = timedelta(minutes=chance.choice([2, 15, 60, 480, 700, 2000, 4000]) * (0.5 + chance.random()))
        if kind == "asleep":
            world.be_asleep(length)
        elif kind == "off":
            world.be_off(length)
        elif kind == "agent":
            world.be_without_agent(length)
        elif kind == "kill":
            world.be_without_agent(timedelta(seconds=5))
        elif kind == "wakes":
            for _ in range(4):
                world.be_asleep(timedelta(minutes=chance.randint(5, 90)))
                world.be_on(timedelta(seconds=chance.randint(5, 200)))
        elif kind == "forward":
            world.set_clock(timedelta(minutes=chance.choice([2, 30, 200, 3000])))
        elif world.clocks.true - set_back_at > timedelta(hours=6):
            set_back_at = world.clocks.true
            world.set_clock(-timedelta(minutes=chance.choice([2, 20, 50])))
    world.jobs.endings = lambda: ""
    world.be_on(timedelta(hours=30))


def check_cron(world: World, schedule: ScheduleSpec, group: str, applied: datetime) -> tuple[int, int]:
    """Each due time of the month has one run or one report; how many of each there were."""
    zone = world.clocks.zone()
    wanted = list(due_between(Timing(cron=schedule.cron), after=applied, until=world.clocks.wall, zone=zone))
    seen: Counter[datetime] = Counter()
    for job in world.runs(group):
        assert job.order.fired
        if job.order.fired.schedule_id == schedule.id and job.order.fired.attempt == 1:
            seen[due_of(job)] += 1
    ran = len(seen)
    record = world.record.record
    waiting = {run.job_id for run in record.runs.values()} if record else set()
    superseded = {
        orders.job_id(schedule_id=s.schedule_id, group=group, due_at=instants.from_text(s.due_to), attempt=1)
        for s in world.skipped
        if s.source_group == group and s.count == 1
    }
    for report in world.skipped:
        if (report.schedule_id, report.source_group) == (schedule.id, group):
            begin, last = instants.from_text(report.due_from), instants.from_text(report.due_to)
            meant = [due for due in wanted if begin <= due <= last]
            assert len(meant) == report.count
            assert report.job_id in world.jobs.jobs or report.job_id in waiting or report.job_id in superseded
            seen.update(meant)
    open_until = world.clocks.wall - timedelta(hours=12)
    assert [due for due in wanted if seen[due] != 1 and due < open_until] == []
    assert all(count == 1 for count in seen.values())
    assert set(seen) <= set(wanted)
    return ran, len(seen) - ran


def check_interval(world: World, schedule: ScheduleSpec, group: str) -> int:
    """Due times never come twice, and lie at least the interval apart."""
    step = timedelta(minutes=schedule.every_minutes)
    dues = [
        due_of(job)
        for job in world.runs(group)
        if job.order.fired and job.order.fired.schedule_id == schedule.id and job.order.fired.attempt == 1
    ]
    for report in world.skipped:
        if (report.schedule_id, report.source_group) == (schedule.id, group):
            assert report.count == 1
            dues.append(instants.from_text(report.due_from))
    dues.sort()
    assert len(dues) == len(set(dues))
    assert all(b - a >= step for a, b in itertools.pairwise(dues))
    assert world.clocks.wall - dues[-1] <= 2 * step + timedelta(hours=12)
    return len(dues)


def check_tries(world: World) -> int:
    """Tries are numbered without a gap, bounded, and made only of what can heal."""
    groups = {g.name: g for g in world.stored.stored.wanted.groups}  # type: ignore[union-attr]
    tries: dict[tuple[str, str, str], list[FakeJob]] = defaultdict(list)
    for job in world.runs():
        fired = job.order.fired
        assert fired
        tries[(fired.schedule_id, job.order.source_group, fired.due_at)].append(job)
    for (_, group, _), jobs in tries.items():
        assert [j.order.fired.attempt for j in jobs if j.order.fired] == list(range(1, len(jobs) + 1))
        assert len(jobs) <= groups[group].retries + 1
        for job in jobs[:-1]:
            assert job.result and job.result.outcome == "failed" and job.result.reason not in CANNOT_HEAL
    return sum(len(jobs) - 1 for jobs in tries.values())


@pytest.mark.timeout(600)
def test_every_due_run_of_a_month_of_twenty_hosts_happened_once_or_is_explained_once() -> None:
    totals: Counter[str] = Counter()
    for seed in range(20):
        chance = random.Random(seed)
        world = World(start=START, zone=ZONES[seed % len(ZONES)], seed=seed, name=f"host-{seed}")
        world.jobs.endings = lambda c=chance: c.choice(REASONS) if c.random() < 0.15 else ""  # type: ignore[misc]
        schedules, groups = make_set(chance)
        world.set(*schedules, groups=groups)

        live(world, chance, totals)

        for schedule in schedules:
            for group in schedule.source_groups:
                if schedule.cron:
                    ran, told = check_cron(world, schedule, group, START)
                    totals["cron runs"] += ran
                    totals["explained"] += told
                else:
                    totals["interval runs"] += check_interval(world, schedule, group)
        totals["retries"] += check_tries(world)
        totals["late"] += sum(bool(job.order.fired and job.order.fired.why_late) for job in world.runs())
        totals["looks"] += world.looks
        assert max(world.jobs.starts.values()) == 1, "no job starts twice"
        assert not any(
            "could not start it in time" in (j.order.fired.why_late if j.order.fired else "") for j in world.runs()
        )
    print("simulated month:", ", ".join(f"{name} {count}" for name, count in totals.items()))
    assert totals["cron runs"] > 1000 and totals["explained"] > 300 and totals["late"] > 100 and totals["retries"] > 20


def test_a_run_planned_for_the_day_of_the_clock_change_keeps_to_the_hosts_own_clock() -> None:
    world = World(start=datetime(2026, 10, 23, 12, tzinfo=UTC), zone="Europe/Berlin")
    world.set(ScheduleSpec(id="s", cron="15 3 * * *", source_groups=["home"]))

    world.be_on(timedelta(days=4))

    assert world.dues() == ["24 03:15", "25 03:15", "26 03:15", "27 03:15"]
    assert [due_of(job).hour for job in world.runs()] == [1, 2, 2, 2]
    assert next_due(Timing(cron="15 3 * * *"), after=world.clocks.wall, zone=world.clocks.zone())
