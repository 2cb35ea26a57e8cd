"""The watchdog hears the loop itself, connected or not, and never anything else."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.watchdog import Watchdog
from tests.agent.conftest import Rig, until


class Manager:
    """The end of the socket that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self.heard: list[str] = []

    def environ(self, *, seconds: float = 30) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(seconds * 1_000_000))}

    def listen(self) -> list[str]:
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path / "notify")
    yield found
    found.close()


def test_under_the_guard_a_number_grows_and_something_slow_is_announced(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    watchdog = Watchdog({"RM_GUARD_ALIVE": str(alive)})

    watchdog.ping()
    first = alive.read_text()
    watchdog.allow(180)
    patient = alive.read_text()
    watchdog.ping()

    assert (first, patient, alive.read_text()) == ("1\n", "2 91\n", "3\n")
    assert watchdog.look_seconds < 15


def test_a_file_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    watchdog = Watchdog({"RM_GUARD_ALIVE": str(tmp_path / "nowhere" / "alive")})

    watchdog.ping()

    assert list(tmp_path.iterdir()) == []


def test_without_systemd_nothing_is_said_and_nothing_fails() -> None:
    watchdog = Watchdog({})

    watchdog.ping()
    watchdog.allow(180)

    assert not watchdog.is_on
    assert watchdog.look_seconds == 30


def test_the_loop_comes_round_three_times_before_the_patience_ends(manager: Manager) -> None:
    watchdog = Watchdog(manager.environ(seconds=30))

    watchdog.ping()

    assert manager.listen() == ["WATCHDOG=1"]
    assert watchdog.look_seconds == 10


def test_a_long_step_is_announced_and_taken_back_afterwards(manager: Manager) -> None:
    watchdog = Watchdog(manager.environ(seconds=30))

    watchdog.allow(180)
    watchdog.ping()
    watchdog.ping()

    assert manager.listen() == ["WATCHDOG_USEC=180000000", "WATCHDOG_USEC=30000000", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_step_that_is_shorter_than_the_patience_changes_nothing(manager: Manager) -> None:
    Watchdog(manager.environ(seconds=30)).allow(5)

    assert manager.listen() == []


@pytest.mark.parametrize("more", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"NOTIFY_SOCKET": ""}])
def test_what_is_meant_for_another_process_is_left_alone(manager: Manager, more: dict[str, str]) -> None:
    assert not Watchdog(manager.environ() | more).is_on


def test_a_service_manager_that_is_gone_does_not_stop_the_agent(tmp_path: Path) -> None:
    Watchdog({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"}).ping()


def test_an_idle_connected_agent_goes_on_pinging_and_so_does_one_without_a_server(
    rig: Rig, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in manager.environ(seconds=0.6).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    rig.start()
    rig.server.connected()

    before = len(manager.listen())
    until(lambda: manager.listen().count("WATCHDOG=1") > before + 5)
    rig.server.refuses = True
    rig.server.connections[0].cut()
    until(lambda: "WATCHDOG_USEC=180000000" in manager.listen()[before:])
    cut = len(manager.heard)
    until(lambda: manager.listen()[cut:].count("WATCHDOG=1") > 5)
