"""The real server process: gunicorn as it is deployed, on a loopback port of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from demo.processes import free_port
from tests.stopwatch import Stopwatch

ROOT = Path(__file__).parents[2]
START_SECONDS = 45


class Server:
    """One gunicorn process group with its log."""

    def __init__(self, data_dir: Path, *, app: str = "app:app", **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._lines: list[str] = []
        self._is_read = False
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", app],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "RM_LISTEN": f"127.0.0.1:{self.port}",
                "RM_DATA_DIR": str(data_dir),
                "RM_SETUP_TOKEN": "first-run",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_read = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        return "\n".join(self._lines)

    def wait_for_line(self, pattern: str, timeout: float = START_SECONDS) -> str:
        """The first log line that matches; fails with the whole log, at the latest once a server has said its last."""

        def found() -> str | None:
            return next((line for line in self._lines if re.search(pattern, line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._is_read, timeout)
            line = found()
        assert line is not None, f"no {pattern!r} in the log:\n{self.log}"
        return line

    def stop(self) -> float:
        """Ask it to end and wait; returns how many seconds it took."""
        stopwatch = Stopwatch()
        self.process.terminate()
        self.process.wait(45)
        seconds = stopwatch.seconds
        self._reader.join(30)
        return seconds

    def kill(self) -> None:
        """End master and worker at once, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._reader.join(30)

    def http(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(timeout=30, retries=False)

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self.http().request("GET", self.url + path)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """serve(**env) → a server that answers; all end with the test."""
    servers: list[Server] = []

    def start(*, wait: bool = True, data_dir: Path | None = None, app: str = "app:app", **env: str) -> Server:
        server = Server(data_dir or tmp_path / "data", app=app, **env)
        servers.append(server)
        if wait:
            server.wait_for_line("serving on")
        return server

    yield start
    for server in servers:
        server.kill()
