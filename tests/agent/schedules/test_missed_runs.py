"""What is made up for after a host was asleep, off or without its agent."""

from datetime import timedelta

import pytest

from rm.shared.protocol import SourceGroupSpec
from tests.agent.schedules.planned import DAYS, HOURS, state, why
from tests.agent.schedules.world import World, daily


def test_after_sleep_the_newest_missed_run_is_made_up_for_and_names_the_sleep(world: World) -> None:
    world.set(daily())
    world.be_on(timedelta(minutes=10))

    world.be_asleep(timedelta(days=2, hours=10))
    world.be_on(HOURS)

    assert world.dues() == ["27 03:15"]
    assert why(world) == "ran late because the host was asleep since 2026-11-24 22:10"
    assert world.told() == [("asleep", "25 03:15", "26 03:15", 2)]
    assert world.skipped[0].job_id == world.runs()[0].order.job_id
    assert world.skipped[0].message == (
        "The host was asleep since 2026-11-24 22:10. One run stands for all that was missed."
    )


def test_after_a_time_without_power_the_run_says_what_is_known(world: World) -> None:
    world.set(daily())
    world.be_on(timedelta(minutes=10))

    world.be_off(10 * HOURS)
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"]
    assert why(world) == (
        "ran late because the host was off: last seen on at 2026-11-24 22:10, started again at 2026-11-25 08:09"
    )


def test_after_a_time_without_the_agent_the_run_says_so(world: World) -> None:
    world.set(daily())
    world.be_on(timedelta(minutes=10))

    world.be_without_agent(10 * HOURS)
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"]
    assert why(world) == "ran late because the agent did not run since 2026-11-24 22:10"


@pytest.mark.parametrize("jitter", [0, 60, 86_400])
def test_a_catch_up_waits_for_the_network_and_some_jitter_and_never_for_long(world: World, jitter: int) -> None:
    world.set(daily(at="0 23 * * *", jitter=jitter))

    world.be_asleep(timedelta(days=2, hours=9))
    woke = world.clocks.wall
    world.be_on(24 * HOURS)

    late = world.runs()[0].accepted - woke if why(world, 0) else timedelta(0)
    assert timedelta(seconds=20) <= late <= timedelta(seconds=21 + min(jitter, 300)) or not why(world, 0)
    assert why(world, 0) or jitter == 86_400


def test_a_run_in_its_jitter_when_the_host_falls_asleep_is_made_up_for_or_explained(world: World) -> None:
    world.set(daily(jitter=36_000))
    world.be_on(timedelta(hours=5, minutes=20))
    assert state(world).code == "waiting"

    world.be_asleep(2 * DAYS)
    world.be_on(12 * HOURS)

    assert "25 03:15" not in world.dues() and len(world.dues()) == 1
    assert sum(report.count for report in world.skipped) == 2
    assert {report.reason for report in world.skipped} == {"asleep"}


def test_a_host_that_wakes_only_for_seconds_still_makes_up_for_its_run(world: World) -> None:
    world.set(daily(jitter=3000))
    world.be_asleep(10 * HOURS)
    assert state(world).why.startswith("Late because the host was asleep since 2026-11-24 22:00; starts at ")
    assert world.runs() == []

    world.be_asleep(2 * HOURS)

    assert world.dues() == ["25 03:15"]


def test_a_backup_that_died_with_the_host_gives_way_to_the_run_that_was_missed_meanwhile(world: World) -> None:
    world.jobs.lengths = lambda: 6 * HOURS
    world.set(daily(), groups=[SourceGroupSpec(name="home", repository_id="r", retries=3)])
    world.be_on(7 * HOURS)
    assert state(world).code == "running"

    world.be_off(3 * DAYS)
    assert world.skipped == []
    world.be_on(8 * HOURS)

    first = world.runs()[0].result
    assert first and first.reason == "interrupted"
    assert world.dues() == ["25 03:15", "28 03:15"]
    assert world.told() == [("off", "26 03:15", "27 03:15", 2)]


def test_a_year_of_sleep_is_one_run_and_one_report(world: World) -> None:
    world.set(daily("*/30 * * * *"))

    world.be_asleep(400 * DAYS)
    world.be_on(timedelta(minutes=5))

    assert len(world.runs()) == 1
    assert [report.reason for report in world.skipped] == ["asleep"]
    assert world.skipped[0].count == 366 * 48 - 1
