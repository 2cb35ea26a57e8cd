"""Downloads from the real server: slow ones hold nobody up, and an import reaches who is connected."""

import hashlib
import os
import socket
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.process.conftest import ROOT
from tests.process.peer import add_hosts, connect, receive
from tests.signing import ROOT_KEY, signed_release
from tests.stopwatch import Stopwatch

SLOW_READERS = 40
ARTIFACT = os.urandom(1024 * 1024) * 8


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return signed_release(artifact=ARTIFACT, now=datetime.now(timezone.utc)).write(tmp_path / "release")


def release_command(data_dir: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "rm", "release", *arguments],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "RM_DATA_DIR": str(data_dir)}, capture_output=True, text=True,
        timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def slow_download(server, path, credential):
    """A socket whose kernel takes only a few kilobytes of the answer, and that reads no more."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(40)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n".encode())
    assert sock.recv(15).startswith(b"HTTP/1.1 200")
    return sock


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_slow_downloads_hold_nobody_up(serve, tmp_path, directory, worker_class):
    server = serve(RM_WORKER_CLASS=worker_class)
    [credential] = add_hosts(tmp_path / "data", 1)
    release_command(tmp_path / "data", "import", str(directory), "--promote")
    path = f"/agent/artifact/{hashlib.sha256(ARTIFACT).hexdigest()}"
    slow = [slow_download(server, path, credential) for _ in range(SLOW_READERS)]

    stopwatch = Stopwatch()
    health = server.get("/healthz")
    took = stopwatch.seconds
    bearer = {"Authorization": f"Bearer {credential}"}
    whole = server.http().request("GET", server.url + path, headers=bearer)
    rest = server.http().request("GET", server.url + path, headers=bearer | {"Range": f"bytes={len(ARTIFACT) - 7}-"})

    assert (health.status, took < 1) == (200, True)
    assert whole.data == ARTIFACT
    assert (rest.status, rest.data) == (206, ARTIFACT[-7:])
    for sock in slow:
        sock.close()


def test_a_connected_host_hears_of_the_root_key_that_the_command_line_brought(serve, tmp_path, directory):
    server = serve()
    [credential] = add_hosts(tmp_path / "data", 1)
    ws = connect(server, credential)

    def next_trust():
        while (message := receive(ws)).type != "config.set":
            pass
        return message.payload.trust["root_keys"]

    before = next_trust()
    said = release_command(tmp_path / "data", "import", str(directory))

    assert (before, next_trust()) == ([], [ROOT_KEY.public.text])
    assert ROOT_KEY.public.name in said
    ws.close()


def test_a_release_that_the_server_brings_is_imported_at_start_and_not_made_current(serve, tmp_path, directory):
    server = serve(RM_RELEASE_DIR=str(directory))

    server.wait_for_line(r"release 0\.2\.0 was imported")
    listed = release_command(tmp_path / "data", "list")

    assert "0.2.0" in listed
    assert server.get("/agent/release").status == 404


def test_a_damaged_release_that_the_server_brings_is_told_and_the_server_serves(serve, directory):
    (directory / "manifest.json").write_bytes(b"{}")

    server = serve(RM_RELEASE_DIR=str(directory))

    assert "was not imported" in server.log
    assert server.get("/healthz").status == 200
