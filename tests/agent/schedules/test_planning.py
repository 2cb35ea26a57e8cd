"""What is fired, what is explained, and when, while a host is on."""

from dataclasses import replace
from datetime import timedelta

from agent.schedules.record import FIRED, PLANNED, Record
from rm.shared.protocol import ScheduleSet, SourceGroupSpec
from tests.agent.schedules.planned import DAYS, EVENING, HOURS, failing, state, why
from tests.agent.schedules.world import World, daily, due_of, every

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
