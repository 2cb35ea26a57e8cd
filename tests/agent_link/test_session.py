"""The conversation with an agent, over a fake socket and a real database."""

import json
import threading

import pytest
from peewee import OperationalError

from rm.agent_link import handlers
from rm.agent_link import session as module
from rm.errors import HostOffline
from rm.events import HostChanged
from rm.services import hosts, jobs, verdicts
from rm.services.repositories import RepositoryForm, save_for_host
from rm.services.repositories import test_on_host as try_on_host
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    BrowseResult,
    GroupState,
    Heartbeat,
    Hello,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    LogLine,
    RepositoryStats,
    ScheduleAck,
    Snapshot,
    SnapshotsReport,
)
from rm.store import database
from rm.store.models import GroupVerdict, Host, Job, JobLogLine, Repository
from rm.store.models import Snapshot as SnapshotRow
from tests import cast
from tests.agent_link.conftest import WAIT, wait_until
from tests.cast import ALICE, BOB, NOW

AT = instants.to_text(NOW)


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


@pytest.fixture
def backup(bus, web1, group):
    return jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)


def lines(*texts, first=1):
    return [LogLine(n=first + i, at=AT, stream="out", text=text) for i, text in enumerate(texts)]


# ---- greeting ----


def test_a_hello_is_welcomed_and_noted(connect, web1):
    ws = connect(web1, restic_version="0.14.0", os_name="Debian 12", problems=["disk is nearly full"])

    welcome = ws.wait_for("welcome")
    host = cast.host_row(web1)
    assert (welcome.host_id, welcome.heartbeat_seconds) == (web1.id, 30)
    assert (host.restic_version, host.os_name, host.problems) == ("0.14.0", "Debian 12", ["disk is nearly full"])
    assert host.connected_at == NOW


def test_a_first_frame_that_is_no_hello_is_refused(connect, web1):
    ws = connect(web1, hello=False)

    ws.say(Heartbeat(sent_at=AT))

    assert ws.wait_closed() == 4400
    assert ws.wait_for("error").code == "hello_invalid"


@pytest.mark.parametrize("frame", ["garbage", "[]", '{"type":"hello","id":"x","payload":{}}', "{" * 500])
def test_a_hello_that_cannot_be_read_is_refused(connect, web1, frame):
    ws = connect(web1, hello=False)

    ws.say_raw(frame)

    assert ws.wait_closed() == 4400


def test_a_hello_that_never_comes_ends_the_connection(connect, web1, monkeypatch):
    monkeypatch.setattr("rm.shared.protocol.HELLO_WITHIN_SECONDS", 0.05)

    ws = connect(web1, hello=False)

    assert ws.wait_closed() == 4400


def test_an_agent_that_is_too_old_is_told_so(connect, web1):
    ws = connect(web1, hello=False)

    ws.say(Hello(protocol_version=0, agent_version="0.0.1"))

    assert ws.wait_closed() == 4426
    assert ws.wait_for("error").code == "protocol_too_old"


def test_a_host_that_was_revoked_during_the_handshake_is_refused(connect, bus, web1):
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    ws = connect(web1, hello=False)
    ws.say(Hello(protocol_version=1, agent_version="0.1.0"))

    assert ws.wait_closed() == 4403


def test_the_newest_connection_of_a_host_wins(connect, web1, registry):
    first = connect(web1)

    second = connect(web1)

    assert first.wait_closed() == 4409
    first.thread.join(WAIT)
    assert registry.is_connected(web1.id)
    assert cast.host_row(web1).connected_at is not None
    assert second.closed_with is None


def test_a_connection_that_ends_is_noted(connect, bus, web1):
    ws = connect(web1)

    ws.hang_up()
    ws.thread.join(WAIT)

    assert cast.host_row(web1).connected_at is None


# ---- bad frames ----


def test_three_bad_messages_in_a_row_end_the_connection(connect, web1):
    ws = connect(web1)

    for _ in range(3):
        ws.say_raw("not json")

    assert ws.wait_closed() == 4400


def test_a_good_message_between_bad_ones_keeps_the_connection(connect, web1):
    ws = connect(web1)

    for _ in range(3):
        ws.say_raw("not json")
        ws.wait_for("error", code="bad_message")
        ws.sent.clear()
        good = ws.say(Heartbeat(sent_at=AT))
        ws.wait_for("ack", id=good)

    assert ws.closed_with is None


def test_an_unknown_type_gets_an_error_that_names_it(connect, web1):
    ws = connect(web1)
    message_id = new_ulid()

    ws.say_raw(json.dumps({"type": "host.explode", "id": message_id, "payload": {}}))

    error = ws.wait_for("error", id=message_id)
    assert (error.code, "host.explode" in error.detail) == ("unknown_type", True)


def test_a_binary_frame_ends_the_connection(connect, web1):
    ws = connect(web1)

    ws.say_raw(b"\x00\x01")

    assert ws.wait_closed() == 1003


# ---- reports ----


def test_a_heartbeat_is_acknowledged_and_kept(connect, web1, clock, bus):
    ws = connect(web1)
    clock.now = NOW.replace(minute=5)

    with bus.subscribe() as listener:
        ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT, problems=["restic was not found"])))
        listener.take(timeout=WAIT)

    host = cast.host_row(web1)
    assert (host.last_seen_at, host.problems) == (clock.now, ["restic was not found"])


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


# ---- configuration ----


def test_the_configuration_is_sent_and_its_application_noted(connect, web1, group):
    ws = connect(web1)

    config = ws.wait_for("config.set")
    ws.wait_for("ack", id=ws.say(ScheduleAck(config_version=config.version)))

    host = cast.host_row(web1)
    assert (config.repositories[0].password, config.repositories[0].secret) == ("repo-secret", "backend-secret")
    assert host.config_applied == host.config_version


def test_an_agent_that_has_the_configuration_is_not_sent_it_again(connect, web1, group):
    ws = connect(web1, config_version=cast.host_row(web1).config_version)

    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT)))

    assert not [m for m in ws.sent if m.type == "config.set"]


def test_a_changed_password_reaches_the_connected_agent(connect, bus, vault, web1, group):
    ws = connect(web1)
    before = ws.wait_for("config.set").version
    form = RepositoryForm(name="store of web1", location="rest:http://127.0.0.1:8000/repo", password="new-secret")

    save_for_host(bus, vault, host_id=web1.id, form=form, actor=ALICE, now=NOW)

    assert ws.wait_for("config.set", version=before + 1).repositories[0].password == "new-secret"


def test_a_revoked_hosts_open_connection_closes_at_once(connect, bus, web1):
    ws = connect(web1)

    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    assert ws.wait_closed() == 4403


def test_a_removed_hosts_open_connection_closes_at_once(connect, bus, web1):
    ws = connect(web1)

    hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)

    assert ws.wait_closed() == 4403


@pytest.mark.parametrize("end", [hosts.remove, hosts.revoke_credential], ids=["removed", "revoked"])
def test_a_host_that_goes_between_its_hello_and_its_place_is_refused(connect, bus, web1, registry, monkeypatch, end):
    named = {"typed_name": "web1"} if end is hosts.remove else {}
    join = registry.join

    def too_late(session):
        with database.connection():
            end(bus, host_id=web1.id, actor=ALICE, now=NOW, **named)
        return join(session)

    monkeypatch.setattr(registry, "join", too_late)

    assert connect(web1).wait_closed() == 4403


# ---- questions, snapshots, stats ----


def test_a_repository_is_tried_on_its_host(connect, bus, parts, web1, group):
    ws = connect(web1)
    results = []
    asking = threading.Thread(target=lambda: results.append(_try(bus, parts, web1)))
    asking.start()
    question = ws.wait_for("command.browse")
    ws.say(
        BrowseResult(request_id=question.request_id, ok=True, message="It opens.", data={"restic_repository_id": "abc"})
    )
    asking.join(WAIT)

    assert (results[0].ok, Repository.get().test_ok, Repository.get().restic_repository_id) == (True, True, "abc")


def test_a_question_fails_at_once_when_the_connection_ends(connect, bus, parts, web1, group):
    ws = connect(web1)
    failures = []

    def ask():
        try:
            _try(bus, parts, web1)
        except HostOffline as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    ws.wait_for("command.browse")
    ws.hang_up()
    asking.join(WAIT)

    assert [error.code for error in failures] == ["host_offline"]


def _try(bus, parts, host):

    with database.connection():
        return try_on_host(bus, parts.agents, host_id=host.id, actor=BOB, now=NOW)


def test_a_listing_in_parts_replaces_the_one_before(connect, web1, group):
    ws = connect(web1)
    repository = Repository.get().id

    def listing(listing_id, part, is_last, *ids):
        report = SnapshotsReport(
            repository_id=repository,
            listing_id=listing_id,
            taken_at=AT,
            total=len(ids),
            part=part,
            is_last=is_last,
            items=[Snapshot(id=one, time=AT, hostname="web1") for one in ids],
        )
        ws.wait_for("ack", id=ws.say(report))

    listing(new_ulid(), 0, True, "old", "kept")
    second = new_ulid()
    listing(second, 0, False, "kept")
    between = {row.id for row in SnapshotRow.select()}
    listing(second, 1, True, "new")

    assert between == {"old", "kept"}
    assert {row.id for row in SnapshotRow.select()} == {"kept", "new"}


def test_stats_of_a_repository_that_is_not_the_hosts_are_refused(connect, db1, web1, group):
    ws = connect(db1)

    report = RepositoryStats(repository_id=Repository.get().id, total_bytes=1)

    assert ws.wait_for("error", id=ws.say(report)).code == "conflict"
    assert Repository.get().total_bytes is None


# ---- overload ----


def test_an_agent_that_does_not_read_is_closed_and_others_go_on(connect, bus, web1, db1, registry):
    slow = connect(web1)
    gate = threading.Event()
    real_send = slow.send
    slow.send = lambda frame: (gate.wait(WAIT), real_send(frame))
    wait_until(lambda: registry.is_connected(web1.id))
    session = registry._sessions[web1.id]

    for _ in range(600):
        session.ack(new_ulid())
    gate.set()

    assert slow.wait_closed() == 1013
    other = connect(db1)
    other.wait_for("ack", id=other.say(Heartbeat(sent_at=AT)))


def test_a_connection_change_is_told(connect, bus, web1):
    with bus.subscribe() as listener:
        connect(web1)

        assert HostChanged(web1.id) in listener.take(timeout=WAIT)
    assert Host.select().count() == 1


def test_a_bug_in_a_handler_ends_this_connection_with_1011(connect, web1, monkeypatch, caplog):
    ws = connect(web1)
    monkeypatch.setitem(handlers._HANDLERS, "heartbeat", lambda session, message: 1 / 0)

    ws.say(Heartbeat(sent_at=AT))

    assert ws.wait_closed() == 1011
    assert "ZeroDivisionError" in caplog.text


def test_a_peer_that_stopped_reading_or_fell_silent_is_cut(connect, web1, db1, registry, monkeypatch):
    reading, stuck = connect(web1), connect(db1)
    stuck.sock.sending_since = module.time.monotonic() - module.SEND_SECONDS - 1

    assert registry.cut_stuck() == 1
    stuck.thread.join(WAIT)
    assert (registry.is_connected(web1.id), registry.is_connected(db1.id)) == (True, False)

    silent_until = module.time.monotonic() + module.SILENT_SECONDS + 1
    monkeypatch.setattr("rm.agent_link.registry.time.monotonic", lambda: silent_until)
    assert registry.cut_stuck() == 1
    reading.thread.join(WAIT)
    assert registry.count() == 0


def test_a_replaced_connection_whose_peer_stopped_reading_is_cut_too(connect, web1, registry, monkeypatch):
    replaced, is_over = connect(web1), threading.Event()
    replaced.wait_for("config.set")
    # the close frame finds no room, as in the buffer of a peer that does not read
    monkeypatch.setattr(replaced, "close", lambda code, reason: is_over.wait(WAIT))
    replaced.sock.sending_since = module.time.monotonic() - module.SEND_SECONDS - 1
    newer = connect(web1)

    assert registry.cut_stuck() == 1

    is_over.set()
    replaced.thread.join(WAIT)
    assert not replaced.thread.is_alive()
    assert newer.thread.is_alive() and registry.cut_stuck() == 0


def test_news_that_could_not_be_read_are_told_later(connect, bus, web1, group, registry, monkeypatch):
    ws = connect(web1)
    ws.wait_for("config.set")
    real = jobs.next_orders
    failures = iter([OperationalError("database is locked")])

    def locked_once(**arguments):
        for failure in failures:
            failed.set()
            raise failure
        return real(**arguments)

    failed = threading.Event()
    monkeypatch.setattr(jobs, "next_orders", locked_once)
    job = jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)
    assert failed.wait(WAIT)
    wait_until(lambda: registry._sessions[web1.id]._news_failed)
    registry.cut_stuck()

    ws.wait_for("command.run", job_id=job.id)


def test_a_question_never_overtakes_the_configuration_it_is_about(connect, bus, vault, parts, web1, group):
    ws = connect(web1)
    ws.wait_for("config.set")
    form = RepositoryForm(name="store of web1", location="rest:http://127.0.0.1:8000/repo", password="new-secret")
    gate = threading.Event()
    real_send = ws.send
    ws.send = lambda frame: (gate.wait(WAIT), real_send(frame))
    ws.say(Heartbeat(sent_at=AT))

    save_for_host(bus, vault, host_id=web1.id, form=form, actor=ALICE, now=NOW)
    asking = threading.Thread(target=lambda: ask_and_forget(bus, parts, web1))
    asking.start()
    gate.set()
    question = ws.wait_for("command.browse")
    ws.say(BrowseResult(request_id=question.request_id, ok=True))
    asking.join(WAIT)

    order = [m.type for m in ws.sent if m.type in ("config.set", "command.browse")]
    assert order == ["config.set", "config.set", "command.browse"]


def ask_and_forget(bus, parts, host):
    _try(bus, parts, host)
