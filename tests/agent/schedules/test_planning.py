"""What is fired, what is explained, and when, in each situation a host can get into."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from agent.schedules.record import FIRED, PLANNED, Record
from rm.shared.protocol import GroupState, ScheduleSet, SourceGroupSpec
from tests.agent.schedules.world import World, daily, due_of, every

UTC = timezone.utc
HOURS = timedelta(hours=1)
DAYS = timedelta(days=1)
EVENING = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)  # 22:00 in Berlin, where the tests' host stands


@pytest.fixture
def world() -> World:
    found = World(start=EVENING, zone="Europe/Berlin")
    found.jobs.lengths = lambda: timedelta(minutes=10)
    return found


def why(world: World, number: int = -1) -> str:
    order = world.runs()[number].order
    assert order.fired
    return order.fired.why_late


def state(world: World, group: str = "home") -> GroupState:
    return next(found for found in world.schedules.told.groups if found.source_group == group)


def failing(world: World, *reasons: str) -> None:
    """The next jobs end like this; an empty reason is success."""
    left = list(reasons)
    world.jobs.endings = lambda: left.pop(0) if left else ""


# ---- on time -------------------------------------------------------------------------------------------


def test_a_host_that_is_on_runs_each_due_run_on_time_and_has_nothing_to_explain(world: World) -> None:
    world.set(daily())

    world.be_on(3 * DAYS)

    assert world.dues() == ["25 03:15", "26 03:15", "27 03:15"]
    assert [due_of(job) for job in world.runs()] == [job.accepted for job in world.runs()]
    assert {why(world, n) for n in range(3)} == {""} and world.skipped == []


def test_the_order_carries_the_group_and_how_it_came_about_and_no_shell_text(world: World) -> None:
    group = SourceGroupSpec(
        name="home", repository_id="r-1", includes=["/home"], excludes=["*.tmp"], restic_repository_id="abc"
    )
    world.set(daily(), groups=[group])

    world.be_on(6 * HOURS)

    order = world.runs()[0].order
    assert (order.kind, order.repository_id, order.source_group, order.hostname) == ("backup", "r-1", "home", "web1")
    assert (order.includes, order.excludes, order.parameters) == (["/home"], ["*.tmp"], {"restic_repository_id": "abc"})
    assert order.group == group
    assert order.fired and (order.fired.schedule_id, order.fired.attempt) == ("daily", 1)
    assert order.fired.due_at == "2026-11-25T02:15:00.000000Z"


def test_jitter_is_the_same_for_a_host_each_time_it_is_worked_out_and_another_for_another(world: World) -> None:
    starts = []
    for name in ("host-1", "host-1", "host-2"):
        other = World(start=EVENING, zone="Europe/Berlin", name=name)
        other.set(daily(jitter=3600))
        other.be_on(7 * HOURS)
        starts.append(other.runs()[0].accepted - due_of(other.runs()[0]))

    assert starts[0] == starts[1] != starts[2]
    assert all(timedelta(0) <= start <= HOURS + timedelta(seconds=1) for start in starts)


def test_a_run_in_its_jitter_is_shown_as_waiting_for_its_moment(world: World) -> None:
    world.set(daily(jitter=36_000))
    world.be_on(timedelta(hours=5, minutes=20))

    found = state(world)

    assert (found.code, found.due_at) == ("waiting", "2026-11-25T02:15:00.000000Z")
    assert found.why.startswith("Starts at 2026-11-25 ") and found.next_at and found.next_at > found.due_at


def test_two_schedules_of_one_group_that_are_due_at_once_make_one_run(world: World) -> None:
    world.set(daily(), daily(id_="again"))

    world.be_on(7 * HOURS)

    assert world.dues() == ["25 03:15"]
    assert world.told() == [("superseded", "25 03:15", "25 03:15", 1)]
    assert world.skipped[0].job_id == world.runs()[0].order.job_id


# ---- nobody was there ----------------------------------------------------------------------------------


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


# ---- the clock is set ----------------------------------------------------------------------------------


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


# ---- one pending run per group -------------------------------------------------------------------------


def test_runs_that_are_due_while_one_still_runs_are_explained_by_it(world: World) -> None:
    world.jobs.lengths = lambda: timedelta(minutes=100)
    world.set(daily("*/30 * * * *"))

    world.be_on(timedelta(minutes=125))

    assert world.dues() == ["24 22:30"]
    assert world.told() == [("still_running", at, at, 1) for at in ("24 23:00", "24 23:30", "25 00:00")]
    assert {report.job_id for report in world.skipped} == {world.runs()[0].order.job_id}


def test_a_run_that_waits_for_another_groups_backup_is_pending_and_says_what_it_waits_for(world: World) -> None:
    world.jobs.lengths = lambda: timedelta(minutes=50)
    world.set(daily("*/30 * * * *"), daily("5 22 * * *", id_="mail", groups=("mail",)))

    world.be_on(timedelta(minutes=35))

    assert state(world, "mail").code == "running"
    assert (state(world).code, state(world).why) == ("waiting", "Waits for its turn.")
    world.be_on(timedelta(minutes=30))
    assert world.told() == [("still_running", "24 23:00", "24 23:00", 1)]


def test_a_run_fired_while_an_update_holds_all_jobs_waits_and_runs_afterwards(world: World) -> None:
    world.set(daily())
    world.jobs.is_held = True
    world.be_on(6 * HOURS)
    assert state(world).code == "waiting" and world.jobs.starts == {}

    world.be_without_agent(timedelta(minutes=2))
    world.jobs.is_held = False
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"] and world.skipped == []
    assert list(world.jobs.starts.values()) == [1]


def test_a_backup_ordered_by_a_person_stands_for_a_run_that_is_due_meanwhile(world: World) -> None:
    world.jobs.lengths = lambda: timedelta(minutes=60)
    world.set(daily())
    world.be_on(5 * HOURS)
    order = world.order("home")

    world.be_on(HOURS)

    assert world.runs() == []
    assert [(s.reason, s.job_id) for s in world.skipped] == [("still_running", order.job_id)]


def test_a_newer_due_time_does_not_put_off_a_run_that_waits_in_its_jitter(world: World) -> None:
    world.set(daily("*/30 * * * *", jitter=86_000))

    world.be_on(6 * DAYS)

    assert len(world.runs()) >= 5
    assert {report.reason for report in world.skipped} <= {"still_waiting", "still_running"}
    assert {report.job_id for report in world.skipped} <= {
        *world.jobs.jobs, *(run.job_id for run in world.record.record.runs.values())  # type: ignore[union-attr]
    }  # fmt: skip


# ---- intervals -----------------------------------------------------------------------------------------


def test_a_run_that_the_jobs_have_counts_as_fired_though_the_disk_refused_to_note_it(world: World) -> None:
    world.set(daily(), every(60, id_="hourly"))
    save = world.record.save

    def refuse_fired(record: Record) -> None:
        if any(run.stage == FIRED for run in record.runs.values()):
            raise OSError(28, "No space left on device")
        save(record)

    world.record.save = refuse_fired  # type: ignore[method-assign]
    world.be_on(timedelta(hours=1, minutes=5))
    assert len(world.runs()) == 1 and world.record.record
    assert [run.stage for run in world.record.record.runs.values()] == [PLANNED]

    world.record.save = save  # type: ignore[method-assign]
    world.set(daily(), version=2)
    world.be_on(HOURS)

    assert len(world.runs()) == 1 and world.skipped == []


def test_a_try_that_waits_for_an_ordered_backup_does_not_keep_the_agent_awake(world: World) -> None:
    world.set(daily(), groups=[SourceGroupSpec(name="home", repository_id="r", retries=1, retry_minutes=10)])
    failing(world, "unreachable")
    world.be_on(timedelta(hours=5, minutes=26))
    assert state(world).code == "retrying"
    world.jobs.lengths = lambda: 5 * HOURS
    world.order("home")
    world.be_on(timedelta(minutes=15))

    assert state(world).code == "retrying"
    assert world.wake_at is not None and world.wake_at > world.clocks.wall + HOURS


def test_an_interval_counts_from_the_last_run_also_when_that_was_late(world: World) -> None:
    world.set(every(360))
    world.be_on(13 * HOURS)
    assert world.dues() == ["25 04:00", "25 10:00"]

    world.be_asleep(8 * HOURS)
    world.be_on(8 * HOURS)

    assert world.dues()[2:] == ["25 16:00", "26 01:00"]
    assert why(world, 2) == "ran late because the host was asleep since 2026-11-25 11:00"
    assert why(world, 3) == "" and world.skipped == []


# ---- retries -------------------------------------------------------------------------------------------


def retrying(world: World, **fields: Any) -> None:
    world.set(daily(), groups=[SourceGroupSpec(name="home", repository_id="r", **fields)])


def test_a_run_that_failed_is_tried_again_with_doubled_waits_and_only_so_often(world: World) -> None:
    failing(world, *["unreachable"] * 9)
    retrying(world, retries=3, retry_minutes=20)

    world.be_on(DAYS)

    runs = world.runs()
    waits = [b.accepted - a.accepted - timedelta(minutes=10) for a, b in itertools.pairwise(runs)]
    assert [job.order.fired.attempt for job in runs if job.order.fired] == [1, 2, 3, 4]
    assert [round(wait / timedelta(minutes=1)) for wait in waits] == [20, 40, 80]
    assert len({due_of(job) for job in runs}) == 1 and len({job.order.job_id for job in runs}) == 4


def test_a_group_that_is_tried_again_says_why_and_when(world: World) -> None:
    failing(world, "unreachable")
    retrying(world, retries=2, retry_minutes=20)

    world.be_on(timedelta(hours=5, minutes=30))

    found = state(world)
    assert (found.code, found.why) == ("retrying", "Try 1 of 3 failed: It failed.")
    assert found.next_at and found.next_at.startswith("2026-11-25T02:45")
    world.be_on(HOURS)
    assert state(world).code == "idle" and len(world.runs()) == 2


@pytest.mark.parametrize("reason", ["wrong_password", "repository_changed", "append_only"])
def test_what_cannot_heal_by_itself_is_not_tried_again(world: World, reason: str) -> None:
    failing(world, reason)
    retrying(world, retries=3)

    world.be_on(10 * HOURS)

    assert len(world.runs()) == 1


def test_a_run_that_a_person_cancelled_is_not_tried_again(world: World) -> None:
    retrying(world, retries=3)
    world.be_on(timedelta(hours=5, minutes=16))
    world.jobs.end(world.runs()[0], "cancelled", "cancelled")

    world.be_on(10 * HOURS)

    assert len(world.runs()) == 1


def test_no_try_comes_after_the_next_due_run(world: World) -> None:
    failing(world, *["unreachable"] * 3)
    group = SourceGroupSpec(name="home", repository_id="r", retries=5, retry_minutes=15)
    world.set(daily("0 * * * *"), groups=[group])

    world.be_on(timedelta(hours=2, minutes=15))

    tries = [(world.show(due_of(j)), j.order.fired.attempt) for j in world.runs() if j.order.fired]
    assert tries == [("24 23:00", 1), ("24 23:00", 2), ("25 00:00", 1)]


def test_a_group_that_is_removed_or_disabled_loses_its_next_try(world: World) -> None:
    failing(world, "unreachable")
    retrying(world, retries=3, retry_minutes=60)
    world.be_on(timedelta(hours=5, minutes=30))
    assert state(world).code == "retrying"

    world.set(daily(groups=("other",)), version=2)
    world.be_on(6 * HOURS)

    assert len(world.runs("home")) == 1 and world.skipped == []


# ---- the set changes -----------------------------------------------------------------------------------


def test_a_new_schedule_makes_up_for_nothing_that_was_due_before_it_existed(world: World) -> None:
    world.set(daily())
    world.be_asleep(12 * HOURS)

    world.set(daily(), daily("0 9 * * *", id_="new", groups=("mail",)), version=2)
    world.be_on(DAYS)

    assert world.dues("mail") == ["26 09:00"]
    assert world.dues("home") == ["25 03:15", "26 03:15"]


def test_a_schedule_with_another_time_starts_from_the_moment_it_was_applied(world: World) -> None:
    world.set(daily())
    world.be_on(6 * HOURS)

    world.set(daily("0 3 * * *"), version=2)
    world.be_on(DAYS)

    assert world.dues() == ["25 03:15", "26 03:00"]


def test_schedules_that_did_not_change_keep_what_they_had_handled(world: World) -> None:
    world.set(daily(), every(360, groups=("mail",)))
    world.be_on(5 * HOURS)

    world.set(daily(jitter=5), every(360, groups=("mail",)), version=2)
    world.be_on(2 * HOURS)

    assert world.dues("mail") == ["25 04:00"] and world.dues("home") == ["25 03:15"]


def test_a_run_that_has_not_begun_when_its_schedule_is_disabled_is_explained(world: World) -> None:
    world.set(daily(jitter=36_000))
    world.be_on(timedelta(hours=5, minutes=20))
    assert state(world).code == "waiting"

    world.set(replace(daily(jitter=36_000), is_enabled=False), version=2)
    world.be_on(2 * DAYS)

    assert world.runs() == [] and world.told() == [("disabled", "25 03:15", "25 03:15", 1)]
    assert state(world).why == "No schedule runs this group."


def test_a_set_that_was_stored_right_before_a_crash_counts_from_then(world: World) -> None:
    group = SourceGroupSpec(name="home", repository_id="r")
    world.stored.save(ScheduleSet(version=1, schedules=[daily()], groups=[group]), at=world.clocks.wall)

    world.be_off(12 * HOURS)
    world.be_on(HOURS)

    assert world.dues() == ["25 03:15"]


# ---- what is shown -------------------------------------------------------------------------------------


def test_an_idle_group_tells_its_next_run_and_so_does_the_host(world: World) -> None:
    world.set(daily(), daily("0 1 * * *", id_="early", groups=("mail",)))

    assert (state(world).code, state(world).next_at) == ("idle", "2026-11-25T02:15:00.000000Z")
    assert [(run.schedule_id, run.source_group) for run in world.schedules.told.next_runs] == [
        ("early", "mail"),
        ("daily", "home"),
    ]
    assert world.schedules.told.lines[0] == "Schedule: 15 3 * * *: home"
    assert "Group home: idle, next 2026-11-25 03:15" in world.schedules.told.lines
    world.set(every(360), version=2)
    assert world.schedules.told.lines[0] == "Schedule: Every 6 hours while the host is on: home"


def test_what_is_shown_changes_only_when_something_happens(world: World) -> None:
    world.set(daily(), groups=[SourceGroupSpec(name="home", repository_id="r"), SourceGroupSpec(name="alone")])
    before = world.schedules.told

    world.be_on(4 * HOURS)

    assert world.schedules.told is before
    assert state(world, "alone").why == "No schedule runs this group."


def test_a_look_at_which_nothing_is_due_writes_nothing(world: World) -> None:
    world.set(daily())
    saves = world.record.saves

    world.be_on(4 * HOURS)

    assert world.record.saves == saves
