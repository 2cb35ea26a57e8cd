"""The batched writer: what it takes is stored once, or given back."""

import queue
from datetime import timedelta

import pytest

from rm.events import HostChanged, HostSeen, JobProgressed
from rm.services import hosts, jobs
from rm.shared import instants
from rm.shared.protocol import Heartbeat, JobProgress, JobStarted, LogLine, NextRun
from rm.store import writer as module
from rm.store.database import db
from rm.store.jobs import samples
from rm.store.models import Job, JobLogLine
from rm.store.writer import Writer
from tests import cast
from tests.cast import ALICE, BOB, NOW

AT = instants.to_text(NOW)
WAIT = 30


@pytest.fixture
def writer(bus):
    writer = Writer(bus)
    writer.start()
    yield writer
    writer.stop()


@pytest.fixture
def running(bus, vault, web1):
    group = cast.give_repository(bus, vault, web1)
    job = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=job.id), now=NOW)
    return job


def lines(first, count, text="line"):
    return [LogLine(n=n, at=AT, stream="out", text=f"{text} {n}") for n in range(first, first + count)]


def store(writer, job, host, batch):
    """Hands the lines over and waits for the verdict."""
    answers = queue.Queue()
    writer.log_lines(job_id=job.id, host_id=host.id, lines=batch, done=answers.put)
    return answers.get(timeout=WAIT)


def test_lines_are_committed_before_they_are_acknowledged(writer, web1, running):
    assert store(writer, running, web1, lines(1, 50)) is True
    assert JobLogLine.select().count() == 50


def test_many_lines_do_not_wait_for_the_next_flush(writer, web1, running, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_SECONDS", 10 * WAIT)
    monkeypatch.setattr(module, "FLUSH_LINES", 20)

    assert store(writer, running, web1, lines(1, 20)) is True


def test_a_stop_does_not_wait_for_the_next_flush(writer, web1, running, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_SECONDS", 10 * WAIT)
    answers = queue.Queue()
    writer.log_lines(job_id=running.id, host_id=web1.id, lines=lines(1, 3), done=answers.put)

    writer.stop()

    assert answers.get(timeout=WAIT) is True


def test_lines_of_a_job_that_is_gone_do_not_hold_up_those_of_others(writer, web1, running):
    answers = queue.Queue()
    writer.log_lines(job_id="01GONE0000000000000000GONE", host_id=web1.id, lines=lines(1, 3), done=answers.put)

    assert store(writer, running, web1, lines(1, 3)) is True
    assert [line.job_id for line in JobLogLine.select()] == [running.id] * 3


def test_lines_that_come_again_are_stored_once(writer, web1, running):
    store(writer, running, web1, lines(1, 5))

    assert store(writer, running, web1, lines(3, 5, "again")) is True
    assert [line.text for line in JobLogLine.select()][:6] == [f"line {n}" for n in range(1, 6)] + ["again 6"]


def test_a_log_without_end_is_cut_and_says_so(writer, web1, running, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINES_PER_JOB", 10)

    store(writer, running, web1, lines(1, 30))
    store(writer, running, web1, lines(31, 30))

    kept = list(JobLogLine.select().order_by(JobLogLine.n))
    assert [line.n for line in kept] == list(range(1, 12))
    assert kept[-1].stream == "cut"


def test_only_the_newest_progress_is_stored_and_its_samples(writer, bus, web1, running):
    with bus.subscribe() as listener:
        for second in range(5):
            progress = JobProgress(job_id=running.id, bytes_done=second * 100, seconds_elapsed=second)
            writer.progress(job_id=running.id, host_id=web1.id, at=NOW, progress=progress)
        # The writer may take them in one batch or in more, as its time comes.
        newest, events = 0, []
        while newest < 400 or JobProgressed(running.id, web1.id) not in events:
            events = listener.take(timeout=WAIT)
            assert events
            newest = Job.get_by_id(running.id).progress["bytes_done"]

    assert newest == 400
    assert samples(running.id) == [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400)]


def test_progress_never_touches_a_job_that_has_ended(writer, bus, web1, running):
    Job.update(state="finished", outcome="failed", finished_at=NOW).where(Job.id == running.id).execute()

    with bus.subscribe() as listener:
        writer.progress(job_id=running.id, host_id=web1.id, at=NOW, progress=JobProgress(job_id=running.id, percent=50))
        listener.take(timeout=WAIT)

    assert Job.get_by_id(running.id).progress == {}


def test_a_heartbeat_is_a_sign_of_life_for_the_job_it_names(writer, bus, web1, running):
    later = NOW.replace(minute=30)

    with bus.subscribe() as listener:
        writer.heartbeat(host_id=web1.id, at=later, beat=Heartbeat(sent_at=AT, running_job=running.id))
        events = listener.take(timeout=WAIT)

    assert events == [HostSeen(web1.id)]
    assert Job.get_by_id(running.id).last_sign_at == later


def test_a_heartbeat_from_before_a_clock_jump_does_not_turn_time_back(writer, bus, web1):
    with bus.subscribe() as listener:
        writer.heartbeat(host_id=web1.id, at=NOW, beat=Heartbeat(sent_at=AT))
        listener.take(timeout=WAIT)
        writer.heartbeat(host_id=web1.id, at=NOW.replace(hour=1), beat=Heartbeat(sent_at=AT))
        listener.take(timeout=WAIT)

    assert cast.host_row(web1).last_seen_at == NOW


def test_a_job_that_went_with_its_host_takes_no_other_lines_down(writer, bus, web1, db1, running, vault):
    group = cast.give_repository(bus, vault, db1)
    other = jobs.order(bus, host_id=db1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)
    answers = queue.Queue()

    writer.log_lines(job_id=running.id, host_id=web1.id, lines=lines(1, 3), done=answers.put)
    writer.log_lines(job_id=other.id, host_id=db1.id, lines=lines(1, 3), done=answers.put)

    assert [answers.get(timeout=WAIT), answers.get(timeout=WAIT)] == [True, True]
    assert {line.job_id for line in JobLogLine.select()} == {other.id}


def test_on_a_full_disk_lines_are_given_back_and_taken_once_there_is_room(writer, web1, running, monkeypatch):
    pages = [db.execute_sql("PRAGMA page_count").fetchone()[0]]
    original = module._store

    def store_with_so_many_pages(batch, cut):
        # the limit belongs to a connection, so the writer sets it on its own
        db.execute_sql(f"PRAGMA max_page_count = {pages[0]}")
        return original(batch, cut)

    monkeypatch.setattr(module, "_store", store_with_so_many_pages)
    batch = lines(1, 100, "x" * 3900)

    given_back, trouble = store(writer, running, web1, batch), writer.trouble()
    pages[0] = 1_000_000
    taken = store(writer, running, web1, batch)

    assert (given_back, taken, writer.trouble()) == (False, True, None)
    assert "disk is full" in trouble
    assert JobLogLine.select().count() == 100


def test_what_waits_is_stored_when_the_writer_stops(bus, web1, running):
    writer = Writer(bus)
    answers = queue.Queue()
    writer.start()

    writer.log_lines(job_id=running.id, host_id=web1.id, lines=lines(1, 3), done=answers.put)
    writer.stop()

    assert answers.get(timeout=WAIT) is True
    assert writer.trouble() == "the writer does not run"


def test_an_unforeseen_failure_gives_lines_back_and_the_writer_goes_on(writer, web1, running, monkeypatch, caplog):
    original = module._store
    failures = iter([RuntimeError("unforeseen")])

    def fail_once(batch, cut):
        for failure in failures:
            raise failure
        return original(batch, cut)

    monkeypatch.setattr(module, "_store", fail_once)

    assert [store(writer, running, web1, lines(1, 3)) for _ in range(2)] == [False, True]
    assert "unforeseen" in caplog.text


def test_the_next_run_that_a_host_plans_is_kept_and_told_when_it_changes(writer, bus, web1):
    due = [
        NextRun(schedule_id=name, due_at=instants.to_text(NOW.replace(hour=hour)))
        for name, hour in (("a", 20), ("b", 18))
    ]

    with bus.subscribe() as listener:
        writer.heartbeat(host_id=web1.id, at=NOW, beat=Heartbeat(sent_at=AT, next_runs=due))
        first = listener.take(timeout=WAIT)
        writer.heartbeat(host_id=web1.id, at=NOW, beat=Heartbeat(sent_at=AT, next_runs=due))
        again = listener.take(timeout=WAIT)
        writer.heartbeat(host_id=web1.id, at=NOW, beat=Heartbeat(sent_at=AT))
        listener.take(timeout=WAIT)

    assert (first, again) == ([HostChanged(web1.id)], [HostSeen(web1.id)])
    assert cast.host_row(web1).next_run_at is None


def test_any_frame_is_a_sign_of_life_and_none_turns_time_back(writer, bus, web1):
    with bus.subscribe() as listener:
        writer.seen(host_id=web1.id, at=NOW + timedelta(minutes=5))
        assert HostSeen(web1.id) in listener.take(WAIT)
        writer.seen(host_id=web1.id, at=NOW)
        assert HostSeen(web1.id) in listener.take(WAIT)

    assert cast.host_row(web1).last_seen_at == NOW + timedelta(minutes=5)
