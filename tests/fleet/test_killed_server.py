"""Proof 4 with the real process: gunicorn is killed with SIGKILL over and over during a rollout of five hosts."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest
import websocket

from demo.person import Person
from demo.processes import free_port
from demo.waiting import DemoFailed
from rm.shared import protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Ack, CommandUpdate, Error, Hello, UpdateProgress, UpdateResult
from tests.process.conftest import ROOT
from tests.process.peer import add_hosts
from tests.process.test_downloads import release_command
from tests.signing import signed_release

PASSWORD = "correct horse battery"
COMMITS = 7


class Mortal:
    """The server, started anew whenever it was killed."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data_dir = data_dir
        self.deaths = 0
        self.die_after = 10**9
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "RM_LISTEN": f"127.0.0.1:{self.port}",
            "RM_DATA_DIR": str(self._data_dir),
            "RM_SETUP_TOKEN": "first-run",
            "DIE_AFTER": str(self.die_after),
        }
        with (self._data_dir.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "tests/fleet/mortal.py", "app:app"],
                cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def keep_alive(self) -> None:
        """Start it again if it was killed."""
        assert self.process is not None
        if self.process.poll() is not None:
            assert self.process.returncode == -signal.SIGKILL
            self.deaths += 1
            # Later each time: however few commits come after a start, the rollout gets on.
            self.die_after = COMMITS + self.deaths
            self.start()

    def stop(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


class Agent(threading.Thread):
    """Updates like a real agent, as far as the server can see: it swaps only on the ack of the fence."""

    def __init__(self, url: str, credential: str, number: int) -> None:
        super().__init__(daemon=True)
        self._url = url.replace("http", "ws") + "/ws/agent"
        self._credential = credential
        self._number = number
        self.release = ("0.1.0", 1, "0" * 64)
        self.order: CommandUpdate | None = None
        self.swaps: list[str] = []
        self.unreported = ""
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            with suppress(OSError, websocket.WebSocketException):
                self._connect()
            self.is_over.wait(0.1)

    def _connect(self) -> None:
        header = [f"Authorization: Bearer {self._credential}"]
        self._ws = websocket.create_connection(self._url, header=header, timeout=20, suppress_origin=True)
        try:
            self._converse()
        finally:
            self._ws.shutdown()

    def _converse(self) -> None:
        version, seq, sha256 = self.release
        journal = {"attempt_id": self.unreported, "phase": "soaking"} if self.unreported else None
        if self.order and not journal:
            # As a real one: the server may have said yes and died before anybody heard it.
            journal = {"attempt_id": self.order.attempt_id, "phase": "selftest"}
        self._say(
            Hello(
                protocol_version=1, agent_version=version, agent_seq=seq, running_sha256=sha256, guard_version="2",
                hostname=f"h{self._number}", arch="amd64", boot_id="one", update=journal,
            )
        )  # fmt: skip
        result_id = fence_id = ""
        while not self.is_over.is_set():
            try:
                message = protocol.decode(self._ws.recv(), protocol.FROM_SERVER)
            except websocket.WebSocketTimeoutException:
                continue
            payload = message.payload
            if message.type == "welcome" and self.unreported:
                result_id = self._say(UpdateResult(attempt_id=self.unreported, outcome="committed", phase="committed"))
            elif message.type == "welcome" and self.order:
                fence_id = self._say(UpdateProgress(attempt_id=self.order.attempt_id, phase="swapping"))
            elif isinstance(payload, CommandUpdate) and self.order is None and payload.attempt_id not in self.swaps:
                self.order = payload
                self._say(UpdateProgress(attempt_id=payload.attempt_id, phase="downloading"))
                fence_id = self._say(UpdateProgress(attempt_id=payload.attempt_id, phase="swapping"))
            elif isinstance(payload, Ack | Error) and payload.id == result_id and result_id:
                self.unreported = ""
            elif isinstance(payload, Ack) and payload.id == fence_id and self.order:
                self.swaps.append(self.order.attempt_id)
                self.release = (self.order.version, self.order.seq, self.order.artifact_sha256)
                self.unreported, self.order = self.order.attempt_id, None
                return

    def _say(self, payload: object) -> str:
        message_id = new_ulid()
        self._ws.send(protocol.encode(payload, message_id))
        return message_id


@pytest.mark.timeout(360)
def test_a_rollout_survives_a_server_that_is_killed_over_and_over(tmp_path: Path) -> None:
    release = signed_release(now=datetime.now(timezone.utc), guard_min=2).write(tmp_path / "release")
    server = Mortal(tmp_path / "data")
    server.start()
    person = Person(server.url)
    wait(person.is_well)
    person.set_up(token="first-run", username="alice", password=PASSWORD)
    person.sign_in(username="alice", password=PASSWORD)
    credentials = add_hosts(tmp_path / "data", 5)
    release_command(tmp_path / "data", "import", str(release), "--promote")
    agents = [Agent(server.url, credential, number) for number, credential in enumerate(credentials)]
    for agent in agents:
        agent.start()
    wait(lambda: all(host["status"] == "online" for host in person.ask("GET", "/hosts")["items"]))
    started = person.ask("POST", "/fleet-updates", {"soak_seconds": 0})
    server.stop()
    found: list[dict[str, object]] = []

    def is_over() -> bool:
        server.keep_alive()
        with suppress(DemoFailed, OSError):
            found[:] = [person.ask("GET", f"/fleet-updates/{started['id']}")]
        return bool(found) and found[0]["state"] not in ("planned", "running")

    try:
        wait(is_over, seconds=240)
    finally:
        for agent in agents:
            agent.is_over.set()
        server.stop()

    sys.stdout.write(
        f"server kill -9, real process: {server.deaths} deaths in a rollout of {len(agents)} hosts,"
        f" {sum(len(agent.swaps) for agent in agents)} swaps\n"
    )
    assert server.deaths >= 3
    assert found[0]["state"] == "completed"
    assert [len(agent.swaps) for agent in agents] == [1] * 5
    assert {agent.release[0] for agent in agents} == {"0.2.0"}


def wait(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        pause.wait(0.1)
