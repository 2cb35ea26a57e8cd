"""Scheduled work."""

import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from rm.events import ReleasesChanged
from rm.services import jobs, releases, updates
from rm.store.models import Alert, Host, Job
from rm.workers import scheduler as module
from rm.workers.scheduler import Scheduler
from tests import cast
from tests.cast import BOB, NOW
from tests.signing import signed_release
from tests.updating import again, give_release, reports, says_hello, takes_orders


@pytest.fixture
def asked():
    return []


@pytest.fixture
def scheduler(parts, asked):
    scheduler = Scheduler(parts, cut_stuck=lambda: 0, ask_again=lambda host_id, job_id: asked.append((host_id, job_id)))
    yield scheduler
    scheduler.stop()


@pytest.fixture
def sent(bus, vault, web1):
    group = cast.give_repository(bus, vault, web1)
    job = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    jobs.next_orders(host_id=web1.id, now=NOW)
    return job


def test_every_job_of_the_table_survives_a_busy_moment(scheduler):
    scheduler.start()

    for job in scheduler._scheduler.get_jobs():
        assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1), job.id


def test_what_came_due_while_the_process_was_busy_is_done_once(scheduler):
    done, ran = threading.Event(), []

    def late():
        ran.append(1)
        done.set()

    # due three times while the process was busy, last 20 s ago
    due = datetime.now(timezone.utc) - timedelta(seconds=120)
    scheduler._scheduler.add_job(late, "interval", seconds=50, start_date=due, next_run_time=due)
    scheduler.start()

    assert done.wait(30)
    assert ran == [1]


def test_a_silent_job_is_asked_about_again(scheduler, asked, clock, web1, sent):
    clock.now = NOW + timedelta(minutes=2)

    scheduler.ask_about_silent_jobs()

    assert asked == [(web1.id, sent.id)]


def test_jobs_that_waited_too_long_are_given_up(scheduler, clock, sent):
    clock.now = NOW + timedelta(hours=25)

    scheduler.give_up_waiting_jobs()

    assert Job.get_by_id(sent.id).outcome == "lost"


def test_it_says_when_it_does_not_run_and_when_it_hangs(scheduler, monkeypatch):
    assert scheduler.trouble() == "the scheduler does not run"
    scheduler.start()
    assert scheduler.trouble() is None

    later = time.monotonic() + 60
    monkeypatch.setattr(module.time, "monotonic", lambda: later)

    assert scheduler.trouble() == "the scheduler hangs"


def test_what_the_command_line_imported_is_announced_here_too(scheduler, bus, settings, tmp_path):
    scheduler.start()
    releases.import_release(
        bus,
        directory=signed_release().write(tmp_path / "release"),
        data_dir=settings.data_dir,
        actor=cast.ALICE,
        now=NOW,
    )

    with bus.subscribe() as listener:
        scheduler.look_for_imported_releases()
        scheduler.look_for_imported_releases()
        told = listener.take(timeout=0)

    assert told == [ReleasesChanged()]


@pytest.fixture
def fenced(bus, web1):
    give_release()
    says_hello(bus, web1)
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    takes_orders(bus, web1)
    reports(bus, web1, attempt, "swapping")
    return attempt


@pytest.fixture
def ticking(clock, monkeypatch):
    """ticking(seconds, jump) lets both clocks run, and sets the wall clock besides."""
    start, passed = time.monotonic(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: start + passed[0])

    def ticking(seconds, jump=timedelta(0)):
        passed[0] += seconds
        clock.now += timedelta(seconds=seconds) + jump

    return ticking


def test_a_deadline_that_passes_is_seen_within_a_second(scheduler, ticking, fenced):
    scheduler.sweep_updates()
    ticking(89)
    scheduler.sweep_updates()
    assert again(fenced).state == "running"

    ticking(1)
    scheduler.sweep_updates()

    assert (again(fenced).state, again(fenced).is_provisional) == ("failed", True)


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(seconds=120)])
def test_a_clock_that_is_set_fails_nobody_and_forgets_nobody(scheduler, ticking, fenced, jump):
    scheduler.sweep_updates()
    ticking(1, jump)
    scheduler.sweep_updates()
    ticking(89)
    scheduler.sweep_updates()
    assert again(fenced).state == "running"

    ticking(1)
    scheduler.sweep_updates()

    assert again(fenced).state == "failed"


def test_a_clock_that_drifts_a_little_is_left_alone(scheduler, ticking, fenced):
    scheduler.sweep_updates()
    ticking(80, timedelta(seconds=4))
    scheduler.sweep_updates()

    ticking(6)
    scheduler.sweep_updates()

    assert again(fenced).state == "failed"


def test_a_server_that_has_just_begun_to_listen_calls_nobody_late(scheduler, bus, clock, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    told = []
    for minutes in range(0, 16):
        clock.now = NOW + timedelta(hours=40, minutes=minutes)
        scheduler.sweep_verdicts()
        told.append(Alert.select().count())

    assert told[:15] == [0] * 15
    assert {alert.kind for alert in Alert.select()} == {"agent_offline", "backup_late"}


def test_a_server_that_slept_waits_anew_before_it_calls_anybody_late(scheduler, bus, clock, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    for minutes in range(0, 20):
        clock.now = NOW + timedelta(minutes=minutes)
        Host.update(last_seen_at=clock.now).where(Host.id == web1.id).execute()
        scheduler.sweep_verdicts()

    clock.now = NOW + timedelta(hours=40)
    scheduler.sweep_verdicts()

    assert Alert.select().count() == 0
