"""What is known to break such a server, each against the real gunicorn."""

import json
import os
import resource
import runpy
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import websocket

from rm.agent_link.registry import MAX_AGENTS
from rm.shared import instants, protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Heartbeat
from tests.agent_link.conftest import wait_until
from tests.cast import NOW
from tests.process.peer import add_hosts, close_code, connect, enrol, is_acknowledged
from tests.stopwatch import Stopwatch

ROOT = Path(__file__).parents[2]
AT = instants.to_text(NOW)


def order_with_a_large_frame(data_dir, host_id):
    """A queued backup whose order is a frame of about 500 kB, written into the database by hand."""
    job_id = new_ulid()
    parameters = json.dumps({"includes": [f"/{number}/{'x' * 3000}" for number in range(160)], "excludes": []})
    database = sqlite3.connect(data_dir / "restic-manager.db", timeout=30)
    database.execute(
        "INSERT INTO jobs (id, host_id, kind, state, parameters, created_at, expires_at)"
        " VALUES (?, ?, 'backup', 'queued', ?, ?, '2099-01-01T00:00:00.000000Z')",
        (job_id, host_id, parameters, AT),
    )
    database.commit()
    database.close()
    return job_id


def slow_reader(server, credential):
    """A connection that said hello and whose kernel takes only a few kilobytes for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(40)
    sock.connect(("127.0.0.1", server.port))
    ws = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}/ws/agent",
        header=[f"Authorization: Bearer {credential}"],
        socket=sock,
        suppress_origin=True,
        timeout=40,
    )
    ws.send(protocol.encode(protocol.Hello(protocol_version=1, agent_version="0.1.0", hostname="slow")))
    return ws


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_slow_reader_gets_every_frame_whole_with_pongs_in_between(serve, tmp_path, worker_class):
    server = serve(RM_WORKER_CLASS=worker_class)
    host = enrol(server, tmp_path / "data")("slow")
    job_id = order_with_a_large_frame(tmp_path / "data", host["host_id"])
    ws = slow_reader(server, host["credential"])
    pause = threading.Event()

    for number in range(50):
        ws.ping(f"p{number}")
        pause.wait(0.005)
    frames, pongs = [], 0
    while not frames or frames[-1].type != "command.run" or pongs < 50:
        opcode, data = ws.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_PONG:
            pongs += 1
        else:
            frames.append(protocol.decode(data.decode(), protocol.FROM_SERVER))

    assert frames[-1].payload.job_id == job_id
    assert len(frames[-1].payload.includes) == 160
    assert pongs == 50


@pytest.mark.timeout(150)
@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_reader_that_stops_is_cut_and_disturbs_nobody(serve, tmp_path, worker_class):
    server = serve(RM_WORKER_CLASS=worker_class)
    admit = enrol(server, tmp_path / "data")
    stuck, other = admit("stuck"), admit("other")
    order_with_a_large_frame(tmp_path / "data", stuck["host_id"])
    # kept, or the garbage collector closes the socket and the server sees an end instead of a reader that stopped
    not_reading = slow_reader(server, stuck["credential"])
    ws = connect(server, other["credential"])

    slowest = 0.0
    pause = threading.Event()
    deadline = time.monotonic() + 90
    while "stopped reading" not in server.log and time.monotonic() < deadline:
        stopwatch = Stopwatch()
        beat = new_ulid()
        ws.send(protocol.encode(Heartbeat(sent_at=AT), beat))
        assert is_acknowledged(ws, beat)
        assert server.get("/healthz").status == 200
        slowest = max(slowest, stopwatch.seconds)
        pause.wait(0.2)

    assert "stopped reading" in server.log
    not_reading.shutdown()
    # a server that waits for the stuck peer would answer nobody for at least the ten seconds it is given
    assert slowest < 9


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_it_stops_within_three_seconds_with_200_sockets_open(serve, tmp_path, worker_class):
    server = serve(RM_WORKER_CLASS=worker_class)
    credentials = add_hosts(tmp_path / "data", 200)
    sockets = [connect(server, credential) for credential in credentials]

    seconds = server.stop()

    assert {close_code(ws) for ws in sockets} == {1012}
    assert seconds < 3, server.log


def test_silent_peers_whose_connection_ends_do_not_hold_up_others(serve, tmp_path):
    server = serve(RM_WORKER_CLASS="gthread")
    add_hosts(tmp_path / "data", 5)
    silent = [connect(server, f"rmh_test_{number}") for number in range(5)]
    # the newest connection wins, so each of these ends one whose peer never answers the close
    for number in range(5):
        silent.append(connect(server, f"rmh_test_{number}"))

    slowest = 0.0
    for _ in range(10):
        stopwatch = Stopwatch()
        assert server.get("/healthz").status == 200
        slowest = max(slowest, stopwatch.seconds)

    assert slowest < 1.5


def test_every_allowed_file_descriptor_is_used(serve):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft // 2
    # what the server inherits, as from a shell or a service manager that allows little
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        server = serve()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    now = line.split()[3]
    assert now == line.split()[4] or int(now) >= 65_536
    assert int(now) > few


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_full_server_refuses_an_agent_and_goes_on_answering_pages(serve, tmp_path, worker_class):
    server = serve(app="tests.process.peephole:app", RM_WORKER_CLASS=worker_class)
    credentials = add_hosts(tmp_path / "data", 5)
    agents = [connect(server, credential) for credential in credentials[:3]]

    refused = [close_code(connect(server, credential, hello=False)) for credential in credentials[3:]]

    assert refused == [1013, 1013]
    assert server.get("/healthz").status == 200
    beat = new_ulid()
    agents[0].send(protocol.encode(Heartbeat(sent_at=AT), beat))
    assert is_acknowledged(agents[0], beat)
    agents[0].close()
    wait_until(lambda: admits(server, credentials[3]))


def admits(server, credential):
    ws = connect(server, credential, hello=False)
    ws.send(protocol.encode(protocol.Hello(protocol_version=1, agent_version="0.1.0", hostname="h")))
    opcode, _ = ws.recv_data()
    return opcode == websocket.ABNF.OPCODE_TEXT


def test_there_is_room_for_pages_beside_the_most_agents():
    config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    assert config["worker_connections"] >= MAX_AGENTS["gevent"] * 1.2
    assert config["threads"] >= MAX_AGENTS["gthread"] * 1.2


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_the_worker_is_set_up_for_many_connections(serve, worker_class):
    server = serve(app="tests.process.peephole:app", RM_WORKER_CLASS=worker_class)

    seen = server.get("/peephole").json()

    # the defaults take a pass over everything again and again: 290 ms at 3,000 connections
    assert seen["gc_threshold"] == [50_000, 50, 1000]
    assert seen["gc_frozen"] > 10_000
    assert seen["is_green"] == (worker_class == "gevent")


def test_a_worker_that_was_not_patched_in_time_does_not_start():
    config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    with pytest.raises(RuntimeError, match="not patched by gevent"):
        config["post_worker_init"](None)


def test_the_process_model_is_one_worker_that_is_never_recycled():
    config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    assert (config["workers"], config["max_requests"], config["preload_app"]) == (1, 0, False)
    assert config["control_socket_disable"] is True
    assert config["timeout"] >= 120
    assert config["worker_connections"] > 20_000


def test_the_configuration_file_imports_no_models():
    program = "import runpy, sys; runpy.run_path('gunicorn.conf.py'); print('peewee' in sys.modules)"

    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )

    assert result.stdout.strip() == "False"


def test_a_server_without_a_provider_loads_nothing_to_sign_in_with_one():
    program = "import sys, rm.factory; print(sorted({'authlib', 'joserfc', 'requests', 'apprise'} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_a_flood_of_reports_slows_its_sender_and_nobody_else(serve, tmp_path):
    server = serve()
    admit = enrol(server, tmp_path / "data")
    flooding, other = connect(server, admit("flood")["credential"]), connect(server, admit("other")["credential"])
    stop = threading.Event()

    def flood():
        frame = protocol.encode(protocol.JobProgress(job_id=new_ulid(), percent=1))
        while not stop.is_set():
            try:
                flooding.send(frame)
            except (OSError, websocket.WebSocketException):
                return

    thread = threading.Thread(target=flood)
    thread.start()
    slowest = 0.0
    for _ in range(8):
        stopwatch = Stopwatch()
        beat = new_ulid()
        other.send(protocol.encode(Heartbeat(sent_at=AT), beat))
        assert is_acknowledged(other, beat)
        slowest = max(slowest, stopwatch.seconds)
    stop.set()
    flooding.close()
    thread.join(30)

    assert slowest < 3
    assert server.get("/healthz").status == 200


def test_what_is_offloaded_does_not_hold_up_other_greenlets():
    # A read that blocks its thread until another greenlet writes: without a thread of its own it never ends.
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import os, threading\n"
        "from rm.offload import offload\n"
        "blocking = monkey.get_original('os', 'read')\n"
        "out, into = os.pipe()\n"
        "threading.Timer(0.1, os.write, (into, b'x')).start()\n"
        "print(offload(blocking, out, 1))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert done.stdout.strip() == "b'x'", done.stderr


def test_many_password_checks_do_not_hold_up_other_requests(serve):
    server = serve()
    done = threading.Event()

    def guess():
        for _ in range(4):
            server.http().request(
                "POST",
                server.url + "/login",
                fields={"username": "nobody", "password": "x" * 20},
                encode_multipart=False,
            )
        done.set()

    threads = [threading.Thread(target=guess) for _ in range(2)]
    for thread in threads:
        thread.start()
    answers = []
    while not done.is_set():
        stopwatch = Stopwatch()
        assert server.get("/healthz").status == 200
        answers.append(stopwatch.seconds)
    for thread in threads:
        thread.join(40)

    assert sorted(answers)[len(answers) // 2] < 0.5
