"""The connection: reports until they are answered, signs of life, bad frames, and each way to end."""

import random
import socket
import threading
import time

import pytest

from agent.config import Config
from agent.http import Answer, Refused, Transport, Unreachable
from agent.link import Backoff, judge_close, judge_refusal
from agent.session import SessionEnded
from rm.shared import ids, protocol
from rm.shared.protocol import ConfigSet, Error, JobFinished, JobLog, LogLine, RepositoryConfig, ScheduleSet
from tests.agent.conftest import Quick, Rig, until


def finished() -> JobFinished:
    return JobFinished(job_id=ids.new_ulid(), outcome="succeeded")


def test_hello_comes_first_and_says_who_is_calling(rig: Rig) -> None:
    rig.start()
    rig.server.connected()

    hello = rig.server.received[0]

    assert hello.type == "hello"
    assert (hello.payload.protocol_version, hello.payload.agent_seq, hello.payload.os) == (1, 1, "linux")
    assert hello.payload.arch in ("amd64", "arm64")
    assert len(hello.payload.machine_id) in (0, 64)
    assert "Sec-Websocket-Extensions" not in rig.server.headers[0]


def test_reports_made_while_offline_arrive_in_order(rig: Rig) -> None:
    rig.server.refuses = True
    agent = rig.start()
    sent = [agent.outbox.add(finished()) for _ in range(450)]
    rig.server.refuses = False

    rig.server.wait(lambda s: len(s.all("job.finished")) == 450)

    assert [m.id for m in rig.server.all("job.finished")] == sent
    until(lambda: agent.outbox.load()[0] == 0)


def test_at_most_200_reports_wait_for_an_answer(rig: Rig) -> None:
    rig.server.acks = lambda message: message.type == "heartbeat"
    agent = rig.start()
    rig.server.connected()
    agent.outbox.add_all([finished() for _ in range(300)])

    rig.server.wait(lambda s: len(s.all("job.finished")) == 200)
    agent.outgoing.answer(protocol.BrowseResult(request_id=ids.new_ulid(), ok=True))
    agent.bell.ring()
    rig.server.wait_for("browse.result")

    assert len(rig.server.all("job.finished")) == 200


def test_an_unanswered_report_is_sent_again_after_a_reconnect_with_the_same_id(rig: Rig) -> None:
    rig.server.acks = lambda message: message.type == "heartbeat"
    agent = rig.start()
    rig.server.connected()
    message_id = agent.outbox.add(finished())
    rig.server.wait_for("job.finished")

    rig.server.connections[0].cut()
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    assert {m.id for m in rig.server.all("job.finished")} == {message_id}


def test_an_unanswered_report_is_sent_again_after_a_while(rig: Rig) -> None:
    answers: list[bool] = []
    rig.server.acks = lambda message: message.type == "heartbeat" or bool(answers)
    agent = rig.start(answer_seconds=0.2)
    rig.server.connected()
    agent.outbox.add(finished())

    rig.server.wait(lambda s: len(s.all("job.finished")) >= 2)
    answers.append(True)

    until(lambda: agent.outbox.load()[0] == 0)
    assert len(rig.server.connections) == 1


def test_a_report_that_the_server_refuses_is_finished_too(rig: Rig) -> None:
    rig.server.acks = lambda message: message.type == "heartbeat"
    agent = rig.start()
    rig.server.connected()
    message_id = agent.outbox.add(finished())
    rig.server.wait_for("job.finished")

    rig.server.connections[0].send(Error(id=message_id, code="unknown_job"))

    until(lambda: agent.outbox.load()[0] == 0)


def test_a_server_that_answers_no_heartbeat_is_left(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    rig.server.acks = lambda message: False
    began = time.monotonic()
    rig.start()

    rig.server.connected(2)

    # Each second an answer is due; that of the usual thirty would come after the end of the wait.
    assert time.monotonic() - began > 1.5


def test_heartbeats_say_what_waits_and_what_is_wrong(rig: Rig) -> None:
    rig.server.heartbeat_seconds = 1
    rig.server.acks = lambda message: message.type == "heartbeat"
    agent = rig.start()
    rig.server.connected()
    agent.outbox.add(finished())

    beat = rig.server.wait(lambda s: [m for m in s.all("heartbeat") if m.payload.outbox_reports])[0].payload

    assert beat.outbox_reports == 1
    assert beat.outbox_bytes > 100


def test_a_zone_that_changes_while_the_agent_runs_is_told_with_the_next_heartbeat(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    rig.server.heartbeat_seconds = 1
    rig.start()
    rig.server.wait_for("heartbeat")

    monkeypatch.setenv("TZ", "Asia/Tokyo")

    assert rig.server.wait(lambda s: [m for m in s.all("heartbeat") if m.payload.timezone == "Asia/Tokyo"])


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        "[]",
        '{"type": "command.run", "id": 7}',
        '{"type": "no.such", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "payload": {}}',
        '{"type": "command.run", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "payload": {"job_id": "../x", "kind": "init"}}',
        '{"type": "config.set", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "payload": {"version": "x"}}',
        "[" * 100_000,
        '{"x": "' + "y" * 1_100_000 + '"}',
        b"\x00\xff",
    ],
)
def test_a_frame_that_cannot_be_understood_is_survived(rig: Rig, frame: str | bytes) -> None:
    rig.start()
    connection = rig.server.connected()

    connection.send_text(frame)
    connection.send(ConfigSet(version=5))

    assert rig.server.wait_for("schedule.ack").payload.config_version == 5
    assert len(rig.server.connections) == 1


def test_a_configuration_is_stored_before_it_is_acknowledged(rig: Rig) -> None:
    agent = rig.start()
    repository = RepositoryConfig(id="r2", location="/elsewhere", password="pw-two")

    rig.server.connected().send(ConfigSet(version=7, repositories=[repository]))
    rig.server.wait_for("schedule.ack", config_version=7)

    assert agent.secrets.load().repositories == {"r2": repository}
    assert oct(rig.paths.secrets_file.stat().st_mode & 0o777) == "0o600"


def test_a_configuration_that_cannot_be_stored_is_told(rig: Rig) -> None:
    rig.start()
    connection = rig.server.connected()
    rig.paths.secrets_file.write_bytes(b"damaged")

    connection.send(ConfigSet(version=9))
    acknowledged = rig.server.wait_for("schedule.ack").payload

    assert "damaged" in acknowledged.problem
    assert acknowledged.config_version == 0
    assert rig.paths.secrets_file.read_bytes() == b"damaged"


def test_schedules_that_cannot_run_are_answered_with_the_reason(rig: Rig) -> None:
    rig.start()

    rig.server.connected().send(ScheduleSet(version=3, schedules=[{"id": "s1"}]))

    assert "cannot run here" in rig.server.wait_for("schedule.ack").payload.problem


def test_a_mark_of_dropped_lines_reaches_the_server(rig: Rig) -> None:
    config = rig.paths.config_file
    config.write_text(config.read_text() + "[limits]\noutbox_reports = 10\n")
    rig.server.refuses = True
    agent = rig.start()
    job_id = ids.new_ulid()
    for n in range(1, 31):
        line = LogLine(n=n, at="2026-01-01T00:00:00Z", stream="out", text="x")
        agent.outbox.add(JobLog(job_id=job_id, lines=[line]))
    rig.server.refuses = False

    until(lambda: agent.outbox.load()[0] == 0)

    lines = [line for m in rig.server.all("job.log") for line in m.payload.lines]
    assert [line.stream for line in lines] == ["cut"] + ["out"] * 9
    assert lines[0].text.startswith("21 lines")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1012, "restart"), (4403, "refused"), (4409, "replaced"), (4426, "too_old"), (1013, "busy"), (1011, "lost")],
)
def test_each_close_code_has_its_own_patience(rig: Rig, code: int, kind: str) -> None:
    rig.start()

    rig.server.connected().close(code)
    rig.server.connected(2)

    assert isinstance(rig.backoff, Quick)
    assert rig.backoff.kinds == [kind]


def test_a_refused_credential_is_told_and_tried_again_slowly(rig: Rig) -> None:
    rig.server.refuses = True
    agent = rig.start()

    until(lambda: "refused" in getattr(rig.backoff, "kinds", []))

    assert "Enrol again" in (agent._status.trouble or "")


def test_only_the_servers_own_401_counts_as_refused() -> None:
    ours = judge_refusal(Refused(Answer(401, {}, {"error": {"code": "credential_refused"}})))
    proxys = judge_refusal(Refused(Answer(401, {}, {})))

    assert (ours.kind, proxys.kind) == ("refused", "lost")


def test_a_redirect_of_the_handshake_is_not_followed() -> None:
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):
            client, _ = listener.accept()
            asked.append(client.recv(4096))
            client.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:%d/stolen\r\n\r\n" % port)
            client.close()

    port = listener.getsockname()[1]
    threading.Thread(target=answer, daemon=True).start()

    with pytest.raises(Unreachable, match="redirects elsewhere"):
        Transport(Config(server=f"http://127.0.0.1:{port}")).open_websocket("/ws/agent", token="secret")

    listener.close()
    assert [request.split(b" ")[1] for request in asked] == [b"/ws/agent"]


def test_waits_grow_to_a_minute_and_never_are_the_same_for_a_whole_fleet() -> None:
    backoff = Backoff(random.Random(7))

    waits = [backoff.seconds("lost") for _ in range(12)]

    assert 0.5 <= waits[0] <= 1
    assert all(30 <= wait <= 60 for wait in waits[7:])
    assert len(set(waits)) == 12
    assert all(0.3 <= backoff.seconds("restart") <= 3 for _ in range(50))
    assert all(60 <= backoff.seconds("refused") <= 300 for _ in range(50))
    backoff.reset()
    assert backoff.seconds("lost") <= 1


def test_a_refusal_in_words_before_welcome_means_the_versions_do_not_fit() -> None:
    assert judge_close(SessionEnded("no", error_code="protocol_too_old")).kind == "too_old"
    assert judge_close(SessionEnded("gone")).kind == "lost"


def test_a_server_that_never_says_welcome_is_left(rig: Rig) -> None:
    rig.server.says_welcome = False
    rig.start(welcome_seconds=0.3)

    rig.server.connected(2)

    assert not rig.server.all("heartbeat")


def test_a_stop_that_comes_right_before_the_bell_is_cleared_is_not_lost(rig: Rig) -> None:
    # Nothing that the server says may wake it.
    rig.server.acks = lambda message: False
    agent = rig.start()
    rig.server.wait_for("heartbeat")
    bell, clear = agent.bell, agent.bell.clear

    def stop_comes_first() -> None:
        agent.stop()
        bell.clear = clear  # type: ignore[method-assign]
        clear()

    bell.clear = stop_comes_first  # type: ignore[method-assign]
    bell.ring()

    assert rig._thread is not None
    rig._thread.join(5)
    assert not rig._thread.is_alive()
