"""The processes that a row measures: the server, the bare ceiling, the load generator; none outlives its block."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3

from bench import machine, seed
from demo.processes import Process, free_port

ROOT = Path(__file__).parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
COOKIE = f"rm_session={seed.SESSION}"
START_SECONDS = 60

Json = dict[str, Any]


class BenchFailed(Exception):
    """A row cannot be measured; the text says why."""


def until(condition: Callable[[], object], *, seconds: float, what: str, pause: float = 0.02) -> None:
    """Wait for something; raises BenchFailed when it does not come in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchFailed(f"waited {seconds:g} s in vain: {what}")
        time.sleep(pause)


class Use:
    """What some processes used while a block ran: share of one core, and memory at its end."""

    def __init__(self) -> None:
        self.cpu_percent = 0.0
        self.pss_mb = 0.0


@contextmanager
def measured(pids: list[int]) -> Iterator[Use]:
    use = Use()
    cpu, begun = machine.cpu_seconds(pids), time.monotonic()
    yield use
    use.cpu_percent = 100 * (machine.cpu_seconds(pids) - cpu) / (time.monotonic() - begun)
    use.pss_mb = machine.pss_mb(pids)


class Server:
    """The server as it is deployed, on a data directory that was seeded before."""

    def __init__(
        self, directory: Path, application: str = "app:app", variables: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        self.directory = directory
        self._application = application
        self._variables = variables or {}
        self.data_dir = directory / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket_url = f"ws://127.0.0.1:{self.port}/ws/agent"
        self._http = urllib3.PoolManager(timeout=30, retries=False)
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it says that it is well."""
        self._process = Process(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", self._application],
            env=environment(
                RM_LISTEN=f"127.0.0.1:{self.port}",
                RM_DATA_DIR=str(self.data_dir),
                RM_LOG_LEVEL="warning",
                **self._variables,
            ),
            cwd=ROOT,
            log=self.directory / "server.log",
        )
        until(self._is_well, seconds=START_SECONDS, what=f"the server answers ({self.directory / 'server.log'})")

    def _is_well(self) -> bool:
        if self._process is None or not self._process.is_running():
            raise BenchFailed(f"the server ended:\n{(self.directory / 'server.log').read_text()[-2000:]}")
        try:
            return self._http.request("GET", f"{self.url}/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def pids(self) -> list[int]:
        """Master and worker."""
        assert self._process is not None
        return machine.tree(self._process.pid)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(seconds=15)

    def kill(self) -> None:
        """kill -9 of master and worker."""
        if self._process is not None:
            self._process.kill_group()

    def get(self, path: str, *, cookie: str = COOKIE) -> urllib3.BaseHTTPResponse:
        """A page, over a connection that is kept; raises BenchFailed unless it is there."""
        headers = {"Cookie": cookie} if cookie else {}
        answer = self._http.request("GET", self.url + path, headers=headers, redirect=False)
        if answer.status != 200:
            raise BenchFailed(f"{path} answered {answer.status}")
        return answer

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """What the API answers; raises BenchFailed with its words when it refuses."""
        answer = self._http.request(method, f"{self.url}/api/v1{path}", headers={"Cookie": COOKIE}, json=body)
        if answer.status >= 300:
            raise BenchFailed(f"{method} {path} answered {answer.status}: {answer.data[:400]!r}")
        found: Json = answer.json()
        return found


@contextmanager
def serving(
    directory: Path,
    *,
    application: str = "app:app",
    variables: Mapping[str, str] | None = None,
    prepare: Callable[[Path], object] = lambda data_dir: None,
    **seeded: Any,
) -> Iterator[tuple[Server, list[seed.SeededHost]]]:
    """A server on a seeded fleet; `prepare` may do more to its data directory before it starts."""
    server = Server(directory, application, variables)
    fleet = seed.seed(server.data_dir, **seeded)
    prepare(server.data_dir)
    try:
        server.start()
        yield server, fleet
    finally:
        server.stop()


class Ceiling:
    """The bare server; see bench/ceiling.py."""

    def __init__(self, directory: Path, file: Path | None = None) -> None:
        self.port, self.stream_port, self.file_port = free_port(), free_port(), free_port()
        self._file = file
        self.socket_url = f"ws://127.0.0.1:{self.port}/"
        self._directory = directory
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = Process(
            [BENCH_PYTHON, "-m", "bench.ceiling", str(self.port), str(self.stream_port), *self._sent()],
            env=environment(),
            cwd=ROOT,
            log=self._directory / "ceiling.log",
        )
        until(self._listens, seconds=START_SECONDS, what="the bare server listens")

    def _sent(self) -> list[str]:
        return [str(self.file_port), str(self._file)] if self._file else []

    def _listens(self) -> bool:
        if self._process is None or not self._process.is_running():
            raise BenchFailed(f"the bare server ended:\n{(self._directory / 'ceiling.log').read_text()[-2000:]}")
        needle = f":{self.stream_port:04X} 00000000:0000 0A"
        return needle in Path("/proc/net/tcp").read_text()

    def pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(seconds=5)


@contextmanager
def ceiling(directory: Path, *, file: Path | None = None) -> Iterator[Ceiling]:
    bare = Ceiling(directory, file)
    try:
        bare.start()
        yield bare
    finally:
        bare.stop()


class Load:
    """The load generator, or another process that takes orders; see bench/load.py for its own."""

    def __init__(self, directory: Path, *, command: tuple[str, ...] = ("bench.load",)) -> None:
        self._log = directory / f"{command[0].rpartition('.')[2]}.log"
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [BENCH_PYTHON, "-m", *command],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def order(self, do: str, **fields: Any) -> None:
        """Give an order without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Json:
        """The answer to the oldest order; raises BenchFailed when it went wrong."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchFailed(f"the load generator ended:\n{self._log.read_text()[-2000:]}")
        found: Json = json.loads(line)
        if "error" in found:
            raise BenchFailed(f"the load generator: {found['error']}")
        return found

    def ask(self, do: str, **fields: Any) -> Json:
        self.order(do, **fields)
        return self.answer()

    def connect(self, url: str, fleet: list[seed.SeededHost], *, at_once: int = 100) -> Json:
        """Connect a fleet; raises BenchFailed unless every host of it is welcomed."""
        found = self.ask("connect", url=url, agents=[host.as_json() for host in fleet], at_once=at_once)
        if found["welcomed"] != len(fleet):
            raise BenchFailed(f"only {found['welcomed']} of {len(fleet)} were welcomed: {found['failed']}")
        return found

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def loading(directory: Path) -> Iterator[Load]:
    load = Load(directory)
    try:
        yield load
    finally:
        load.stop()


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that goes away at the end."""
    with tempfile.TemporaryDirectory(prefix="restic-manager-bench-") as name:
        yield Path(name)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises BenchFailed in this block when it takes longer."""
    import signal

    def over(number: int, frame: object) -> None:
        raise BenchFailed(f"it took longer than its {seconds:g} s")

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def environment(**more: str) -> dict[str, str]:
    passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**passed, "PYTHONUNBUFFERED": "1", **more}
