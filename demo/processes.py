"""The processes of the demo: each in a group of its own, and none left behind."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """A started program with its output in a file."""

    def __init__(self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.log = log
        with open(log, "ab") as out:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def stop(self, *, seconds: float) -> float:
        """End it with SIGTERM, after `seconds` with SIGKILL; returns how long it took."""
        begun = time.monotonic()
        if self.is_running():
            self._child.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill_group()
        return time.monotonic() - begun

    def kill_group(self) -> None:
        """kill -9 of the program and of all it started that did not leave its group."""
        if self.is_running():
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


def free_port() -> int:
    """A TCP port on loopback that nobody uses, and that no outgoing connection will be given by chance."""
    first = 10_000
    # From here on the kernel takes ports for outgoing connections: one of those could be gone before a server binds it.
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in [first + secrets.randbelow(end - first) for _ in range(50)] if end > first else []:
        if _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def belonging_to(directory: Path) -> list[int]:
    """The processes of a demo: those that were started with its directory in a variable, restic included.

    Not by arguments or place, which would also find an editor or a shell that looks at the directory.
    """
    needle = os.fsencode(directory)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(needle in variable for variable in variables if not variable.startswith((b"PWD=", b"OLDPWD="))):
            found.append(int(entry.name))
    return found


def end_all_in(directory: Path) -> list[int]:
    """End what still works in a directory of ours; returns what would not end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in belonging_to(directory):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 3
        while belonging_to(directory) and time.monotonic() < deadline:
            time.sleep(0.05)
    return belonging_to(directory)
