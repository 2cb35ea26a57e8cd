"""Too much of everything, against the real gunicorn: refused or slowed, and nobody else notices."""

import threading
from contextlib import suppress

import pytest
import websocket

from rm.shared import instants, protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Heartbeat, JobFinished, JobLog, LogLine
from tests.cast import NOW
from tests.process.conftest import serve
from tests.process.peer import add_hosts, close_code, connect, enrol, is_acknowledged
from tests.stopwatch import Stopwatch

__all__ = ["serve"]

AT = instants.to_text(NOW)
BROKEN = (OSError, websocket.WebSocketException)


def raw(name, payload):
    """A frame whose payload is exactly this text."""
    return f'{{"type":"{name}","id":"{new_ulid()}","payload":{payload}}}'


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def admit(server, tmp_path):
    return enrol(server, tmp_path / "data")


def is_well(server, ws):
    """How many seconds another host's heartbeat and the health page need just now."""
    stopwatch = Stopwatch()
    beat = new_ulid()
    ws.send(protocol.encode(Heartbeat(sent_at=AT), beat))
    assert is_acknowledged(ws, beat)
    assert server.get("/healthz").status == 200
    return stopwatch.seconds


def recovers(server, ws):
    """Whether both need less than a second again, soon after a flood has ended."""
    stopwatch = Stopwatch()
    while is_well(server, ws) >= 1:
        assert stopwatch.seconds < 10, "ten seconds after the flood the server still needs more than a second"
    return True


def test_ten_thousand_reports_without_listening_end_the_connection_only(server, admit):
    evil, other = connect(server, admit("evil")["credential"]), connect(server, admit("other")["credential"])

    frame = protocol.encode(JobFinished(job_id=new_ulid(), outcome="failed", message="x" * 500))
    with suppress(*BROKEN):
        for _ in range(10_000):
            evil.send(frame)

    assert is_well(server, other) < 10
    evil.close()
    assert recovers(server, other)


def test_two_hundred_sockets_with_one_credential_leave_one(server, admit):
    credential = admit("evil")["credential"]
    other = connect(server, admit("other")["credential"])
    sockets = []
    with suppress(*BROKEN):
        for _ in range(200):
            sockets.append(connect(server, credential))

    assert recovers(server, other)
    assert {close_code(ws) for ws in sockets[:-1]} == {4409}
    beat = new_ulid()
    sockets[-1].send(protocol.encode(Heartbeat(sent_at=AT), beat))
    assert is_acknowledged(sockets[-1], beat)


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        raw("heartbeat", '{"a":' * 900 + "1" + "}" * 900),
        raw("job.finished", '{"summary":{"n":NaN}}'),
        raw("job.finished", f'{{"exit_code":{"9" * 5000}}}'),
        raw("heartbeat", '{"sent_at":"\\ud800"}'),
    ],
    ids=["brackets", "braces", "deep", "nan", "digits", "surrogate"],
)
def test_frames_made_to_hurt_are_answered_or_end_the_connection(server, admit, frame):
    evil, other = connect(server, admit("evil")["credential"]), connect(server, admit("other")["credential"])

    # Silence is an answer too, and here it is waited for.
    evil.settimeout(10)
    with suppress(*BROKEN):
        for _ in range(5):
            evil.send(frame)
        close_code(evil)

    assert recovers(server, other)
    assert "Traceback" not in server.log


def test_connections_that_never_say_hello_are_ended_and_cost_nobody_else(server, admit, tmp_path):
    other = connect(server, admit("other")["credential"])
    silent = [connect(server, credential, hello=False) for credential in add_hosts(tmp_path / "data", 20)]
    for ws in silent:
        ws.settimeout(45)

    assert recovers(server, other)
    assert {close_code(ws) for ws in silent} == {4400}


def test_a_flood_of_log_lines_for_somebody_elses_job_is_refused(server, admit):
    evil, other = connect(server, admit("evil")["credential"]), connect(server, admit("other")["credential"])
    lines = [LogLine(n=n, at=AT, stream="out", text="x" * 1000) for n in range(1, 101)]
    answers = []

    def listen():
        with suppress(*BROKEN, protocol.ProtocolError):
            while True:
                answers.append(protocol.decode(evil.recv(), protocol.FROM_SERVER))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with suppress(*BROKEN):
        for _ in range(200):
            evil.send(protocol.encode(JobLog(job_id=new_ulid(), lines=lines)))

    assert is_well(server, other) < 10
    evil.close()
    listener.join(30)
    assert recovers(server, other)
    assert {a.payload.code for a in answers if a.type == "error"} <= {"unknown_job"}
