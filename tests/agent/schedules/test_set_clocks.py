"""Clocks that are set, or wrong, make nothing run twice and silence no schedule."""

from datetime import datetime, timedelta

from tests.agent.schedules.planned import DAYS, HOURS, UTC, why
from tests.agent.schedules.world import World, daily, every


def test_a_clock_that_is_set_forward_makes_one_run(world: World) -> None:
    world.set(daily())

    world.set_clock(3 * DAYS)
    world.be_on(HOURS)

    assert world.dues() == ["27 03:15"]
    assert why(world) == ("ran late because the host's clock was set forward from 2026-11-24 22:00 to 2026-11-27 22:00")
    assert world.told() == [("clock", "25 03:15", "26 03:15", 2)]


def test_a_clock_that_is_set_back_a_little_doubles_nothing(world: World) -> None:
    world.set(daily())
    world.be_on(timedelta(hours=5, minutes=30))
    assert world.dues() == ["25 03:15"]

    world.set_clock(-timedelta(minutes=40))
    world.be_on(25 * HOURS)

    assert world.dues() == ["25 03:15", "26 03:15"] and world.skipped == []


def test_a_clock_that_ran_a_year_ahead_and_is_put_right_silences_no_schedule(world: World) -> None:
    world.set_clock(365 * DAYS)
    world.set(daily(), every(360, groups=("mail",)))
    world.be_on(DAYS)
    assert (len(world.runs("home")), len(world.runs("mail"))) == (1, 4)

    world.set_clock(-365 * DAYS)
    assert world.schedules.problems() == [
        "This host's clock was set back: what had been handled up to 2027-11-25 22:00 is planned anew from"
        " 2026-11-25 22:00."
    ]
    world.be_on(DAYS)
    assert world.schedules.problems() == []

    assert world.dues("home")[1:] == ["26 03:15"]
    assert len(world.runs("mail")) == 8
    assert len({job.order.job_id for job in world.runs()}) == len(world.runs())


def test_a_run_that_comes_again_after_the_clock_was_set_back_by_hours_is_a_run_of_its_own(world: World) -> None:
    world.set(daily())
    world.be_on(timedelta(hours=5, minutes=30))

    world.set_clock(-3 * HOURS)
    world.be_on(12 * HOURS)

    assert world.dues() == ["25 03:15", "25 03:15"]
    assert len({job.order.job_id for job in world.runs()}) == 2


def test_a_clock_that_was_set_back_by_hours_and_is_right_again_after_a_reboot_makes_nothing_run_twice(
    world: World,
) -> None:
    world.set(daily())
    world.be_on(timedelta(hours=5, minutes=30))
    assert world.dues() == ["25 03:15"]

    world.set_clock(-5 * HOURS)
    world.be_on(timedelta(minutes=10))
    world.be_off(timedelta(minutes=5), offset=timedelta(0))
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"]
    assert world.skipped == []


def test_a_clock_that_is_wrong_for_a_moment_after_the_start_makes_nothing_run_twice(world: World) -> None:
    world.set(daily())
    world.be_on(3 * DAYS)

    world.be_off(HOURS, offset=-200 * DAYS)
    world.be_on(timedelta(minutes=1))
    world.set_clock(200 * DAYS)
    world.be_on(12 * HOURS)

    assert world.dues() == ["25 03:15", "26 03:15", "27 03:15", "28 03:15"]
    assert world.skipped == []


def test_a_clock_that_comes_right_after_the_start_still_tells_of_the_time_without_power(world: World) -> None:
    """Boards without a battery start with the time at which they were switched off."""
    world.set(daily())

    world.be_off(12 * HOURS, offset=-12 * HOURS)
    world.be_on(timedelta(minutes=1))
    world.set_clock(12 * HOURS)
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"]
    assert why(world) == "ran late because the host was restarted; it was last seen on at 2026-11-24 22:00"


def test_nothing_is_planned_by_a_clock_that_was_never_set(world: World) -> None:
    world.set(daily())
    world.clocks.reboot(HOURS)
    world.clocks.offset = datetime(1970, 1, 1, tzinfo=UTC) - world.clocks.true
    world.start_agent()

    world.be_on(2 * DAYS)

    assert world.runs() == [] and world.skipped == []
