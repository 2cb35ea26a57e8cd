"""Scheduled work."""

import time
from datetime import timedelta

import pytest

from rm.services import jobs
from rm.store.models import Job
from rm.workers import scheduler as module
from rm.workers.scheduler import Scheduler
from tests import cast
from tests.cast import BOB, NOW


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
