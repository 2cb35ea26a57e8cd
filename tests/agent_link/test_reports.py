"""What the reports of an agent do, and the orders that follow them."""

import threading

import pytest
from peewee import OperationalError

from rm.services import jobs, verdicts
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    GroupState,
    Heartbeat,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    LogLine,
)
from rm.store.models import GroupVerdict, Job, JobLogLine
from tests import cast
from tests.agent_link.conftest import WAIT, wait_until
from tests.agent_link.reporting import AT
from tests.cast import BOB, NOW


@pytest.fixture
def backup(bus, web1, group):
    return jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)


def lines(*texts, first=1):
    return [LogLine(n=first + i, at=AT, stream="out", text=text) for i, text in enumerate(texts)]


def test_a_heartbeat_is_acknowledged_and_kept(connect, web1, clock, bus):
    ws = connect(web1)
    clock.now = NOW.replace(minute=5)

    with bus.subscribe() as listener:
        ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT, problems=["restic was not found"])))
        listener.take(timeout=WAIT)

    host = cast.host_row(web1)
    assert (host.last_seen_at, host.problems) == (clock.now, ["restic was not found"])


def test_who_reads_a_heartbeat_answers_it_and_borrows_no_thread(connect, web1, registry, monkeypatch):
    ws = connect(web1)
    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT)))
    wait_until(lambda: not registry._sessions[web1.id]._outgoing._is_being_written)
    borrowed, writers, send = [], [], ws.send
    monkeypatch.setattr(registry, "lend_thread", borrowed.append)
    monkeypatch.setattr(ws, "send", lambda frame: (writers.append(threading.current_thread()), send(frame)))

    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT)))

    assert (borrowed, writers) == ([], [ws.thread])


def test_what_heartbeats_say_of_groups_is_looked_at_only_when_it_changed(connect, web1, bus, monkeypatch):
    group = cast.nightly(bus, web1)
    ws, calls = connect(web1, features=["schedules"]), []
    reported = verdicts.reported
    monkeypatch.setattr(verdicts, "reported", lambda *args, **named: (calls.append(1), reported(*args, **named)))
    waiting = GroupState(source_group="files", code="waiting", why="the check of attic runs")

    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT)))
    for _ in range(3):
        ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT, groups=[waiting])))
    kept = GroupVerdict.get_by_id(group).text
    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT, groups=[])))

    assert len(calls) == 2
    assert kept == "A run waits. The check of attic runs."
    assert GroupVerdict.get_by_id(group).code == "never"


def test_a_job_runs_from_order_to_end(connect, web1, backup):
    ws = connect(web1)

    order = ws.wait_for("command.run", job_id=backup.id)
    ws.wait_for("ack", id=ws.say(JobStarted(job_id=order.job_id, command="restic backup")))
    ws.wait_for("ack", id=ws.say(JobLog(job_id=order.job_id, lines=lines("one", "two"))))
    ws.wait_for("ack", id=ws.say(JobFinished(job_id=order.job_id, outcome="succeeded", exit_code=0)))

    job = Job.get_by_id(backup.id)
    assert (job.state, job.outcome, job.command) == ("finished", "succeeded", "restic backup")
    assert [line.text for line in JobLogLine.select()] == ["one", "two"]


def test_log_lines_that_arrive_twice_are_kept_once(connect, web1, backup):
    ws = connect(web1)

    for _ in range(2):
        ws.wait_for("ack", id=ws.say(JobLog(job_id=backup.id, lines=lines("one", "two"))))

    assert JobLogLine.select().count() == 2


def test_progress_moves_the_job(connect, web1, backup, bus):
    ws = connect(web1)
    ws.wait_for("ack", id=ws.say(JobStarted(job_id=backup.id)))

    with bus.subscribe() as listener:
        ws.say(JobProgress(job_id=backup.id, percent=40, bytes_done=400, bytes_total=1000, seconds_elapsed=3))
        listener.take(timeout=WAIT)

    assert Job.get_by_id(backup.id).progress["percent"] == 40


def test_a_job_ordered_while_connected_is_sent_at_once(connect, bus, web1, group):
    ws = connect(web1)

    job = jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)

    assert ws.wait_for("command.run", job_id=job.id).kind == "init"


def test_the_next_job_is_sent_when_the_one_before_ended(connect, bus, web1, backup):
    second = jobs.order(bus, host_id=web1.id, kind="snapshots", actor=BOB, now=NOW)
    ws = connect(web1)
    ws.wait_for("command.run", job_id=backup.id)
    assert not [m for m in ws.sent if m.type == "command.run" and m.payload.job_id == second.id]

    ws.say(JobFinished(job_id=backup.id, outcome="failed"))

    ws.wait_for("command.run", job_id=second.id)


def test_a_cancel_reaches_the_agent(connect, bus, web1, backup):
    ws = connect(web1)
    ws.wait_for("command.run", job_id=backup.id)

    jobs.cancel(bus, job_id=backup.id, actor=BOB, now=NOW)

    ws.wait_for("command.cancel", job_id=backup.id)


def test_after_a_reconnect_a_started_job_is_asked_about(connect, web1, backup):
    first = connect(web1)
    first.wait_for("ack", id=first.say(JobStarted(job_id=backup.id)))
    first.hang_up()

    second = connect(web1)

    assert second.wait_for("command.run", job_id=backup.id).already_started is True


def test_a_job_that_the_agent_says_it_runs_is_not_asked_about(connect, web1, backup, bus):
    first = connect(web1)
    first.wait_for("ack", id=first.say(JobStarted(job_id=backup.id)))
    first.hang_up()

    second = connect(web1, running_job=backup.id)
    second.wait_for("ack", id=second.say(Heartbeat(sent_at=AT)))

    assert not [m for m in second.sent if m.type == "command.run"]


def test_a_host_cannot_report_another_hosts_job(connect, db1, backup):
    ws = connect(db1)

    for report in (
        JobStarted(job_id=backup.id),
        JobProgress(job_id=backup.id, percent=1),
        JobLog(job_id=backup.id, lines=lines("injected")),
        JobFinished(job_id=backup.id, outcome="succeeded"),
    ):
        assert ws.wait_for("error", id=ws.say(report)).code == "not_yours"

    assert Job.get_by_id(backup.id).state == "queued"
    assert JobLogLine.select().count() == 0


def test_a_report_about_an_unknown_job_is_finished_with_an_error(connect, web1):
    ws = connect(web1)

    assert ws.wait_for("error", id=ws.say(JobFinished(job_id=new_ulid(), outcome="failed"))).code == "unknown_job"


def test_a_contradicting_end_is_answered_with_conflict(connect, web1, backup):
    ws = connect(web1)
    ws.wait_for("ack", id=ws.say(JobFinished(job_id=backup.id, outcome="failed")))

    assert ws.wait_for("error", id=ws.say(JobFinished(job_id=backup.id, outcome="succeeded"))).code == "conflict"
    assert Job.get_by_id(backup.id).outcome == "failed"


def test_a_report_that_cannot_be_stored_is_not_answered_so_that_it_comes_again(connect, web1, backup, monkeypatch):
    ws = connect(web1)
    ws.wait_for("command.run", job_id=backup.id)
    real = jobs.finished
    failures = iter([OperationalError("database or disk is full")])

    def full_once(*args, **kwargs):
        for failure in failures:
            raise failure
        return real(*args, **kwargs)

    monkeypatch.setattr(jobs, "finished", full_once)
    report = JobFinished(job_id=backup.id, outcome="succeeded")
    first = ws.say(report)
    beat = ws.say(Heartbeat(sent_at=AT))
    ws.wait_for("ack", id=beat)
    answered = [m for m in ws.sent if getattr(m.payload, "id", None) == first]
    ws.wait_for("ack", id=ws.say(report, first))

    assert answered == []
    assert Job.get_by_id(backup.id).outcome == "succeeded"
