"""The server as a process: it starts, tells how it is, stops at once, and refuses what would lose data."""

import json
import os
import signal
import sqlite3

import pytest
import websocket

from rm.shared import protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Heartbeat
from tests.process.peer import close_code, connect, enrol, is_acknowledged


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_it_serves_an_agent_and_stops_within_three_seconds_with_sockets_open(serve, tmp_path, worker_class):
    server = serve(RM_WORKER_CLASS=worker_class)
    admit = enrol(server, tmp_path / "data")
    sockets = [connect(server, admit(f"h{number}")["credential"]) for number in range(5)]
    beat = new_ulid()
    sockets[0].send(protocol.encode(Heartbeat(sent_at="2026-11-23T12:00:00Z"), beat))
    assert is_acknowledged(sockets[0], beat)

    seconds = server.stop()

    assert [close_code(ws) for ws in sockets] == [1012] * 5
    assert seconds < 3, server.log
    assert "Traceback" not in server.log


def test_health_says_which_part_is_not_well(serve, tmp_path):
    server = serve()
    assert server.get("/healthz").status == 200

    # the database's only table that the check reads is taken away under it
    database = sqlite3.connect(tmp_path / "data" / "restic-manager.db")
    database.execute("ALTER TABLE settings RENAME TO gone")
    database.commit()
    answer = server.get("/healthz")

    assert answer.status == 503
    assert answer.json()["checks"]["database"] != "ok"
    assert answer.json()["checks"]["scheduler"] == "ok"


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(serve):
    first = serve()

    second = serve(wait=False)
    second.process.wait(45)

    assert second.process.returncode != 0
    second.wait_for_line("Another server already runs")
    assert first.get("/healthz").status == 200


def test_after_a_kill_it_starts_again_on_the_same_data(serve, tmp_path):
    first = serve()
    host = enrol(first, tmp_path / "data")("web1")
    connect(first, host["credential"])
    first.kill()

    second = serve()

    ws = connect(second, host["credential"])
    assert second.get("/healthz").status == 200
    ws.close()


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"RM_LISTEN": "nonsense"}, "RM_LISTEN"),
        ({"RM_BASE_URL": "backup.example"}, "RM_BASE_URL"),
        ({"RM_COOKIE_SECURE": "maybe"}, "RM_COOKIE_SECURE"),
        ({"RM_WORKER_CLASS": "sync"}, "RM_WORKER_CLASS"),
        ({"RM_TRUSTED_PROXY": "everyone"}, "RM_TRUSTED_PROXY"),
        ({"RM_SETUP_TOKEN": "", "RM_SETUP_TOKEN_FILE": "/nonexistent"}, "RM_SETUP_TOKEN_FILE"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(serve, env, named):
    server = serve(wait=False, **env)
    server.process.wait(45)

    assert server.process.returncode != 0
    assert named in server.wait_for_line("cannot start")


def test_a_missing_key_file_stops_the_start_with_a_sentence(serve, tmp_path):
    server = serve()
    server.stop()
    (tmp_path / "data" / "secret.key").unlink()

    again = serve(wait=False)
    again.process.wait(45)

    assert "is missing" in again.wait_for_line("cannot start")
    assert "Traceback" not in again.log


def test_the_setup_link_is_printed_while_there_is_no_user(serve):
    server = serve()

    line = server.wait_for_line(r"setup\?token")

    assert f"{server.url}/setup?token=first-run" in line


def test_a_wrong_credential_is_refused_before_the_handshake(serve):
    server = serve()

    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(server, "rmh_invented", hello=False)

    assert caught.value.status_code == 401
    assert json.loads(caught.value.resp_body)["error"]["code"] == "credential_refused"


def test_a_browser_cannot_open_the_agents_socket(serve, tmp_path):
    server = serve()
    host = enrol(server, tmp_path / "data")("web1")

    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(
            server.url.replace("http", "ws") + "/ws/agent",
            header=[f"Authorization: Bearer {host['credential']}"],
            origin="https://evil.example",
            timeout=30,
        )

    assert caught.value.status_code == 401


def test_a_frame_over_one_mebibyte_ends_the_connection_and_no_other(serve, tmp_path):
    server = serve()
    admit = enrol(server, tmp_path / "data")
    big, other = connect(server, admit("web1")["credential"]), connect(server, admit("db1")["credential"])

    big.send("x" * (protocol.MAX_FRAME_BYTES + 1))

    assert close_code(big) == 1009
    beat = new_ulid()
    other.send(protocol.encode(Heartbeat(sent_at="2026-11-23T12:00:00Z"), beat))
    assert is_acknowledged(other, beat)


def test_compression_is_not_negotiated(serve, tmp_path):
    server = serve()
    host = enrol(server, tmp_path / "data")("web1")

    ws = websocket.create_connection(
        server.url.replace("http", "ws") + "/ws/agent",
        header=[
            f"Authorization: Bearer {host['credential']}",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ],
        timeout=30,
        suppress_origin=True,
    )

    assert "sec-websocket-extensions" not in {name.lower() for name in ws.headers}


def test_a_worker_that_dies_is_replaced(serve):
    server = serve()
    worker = next(
        int(pid) for pid in os.listdir("/proc") if pid.isdigit() and f"PPid:\t{server.process.pid}\n" in _status(pid)
    )

    os.kill(worker, signal.SIGKILL)
    server.wait_for_line("serving on")
    with server._changed:
        assert server._changed.wait_for(lambda: server.log.count("serving on") == 2, 30), server.log

    assert server.get("/healthz").status == 200


def _status(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return file.read()
    except OSError:
        return ""
