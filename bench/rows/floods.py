"""What one hostile agent costs everybody else."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import websocket

from bench.figures import Row, Target
from bench.seed import SeededHost
from bench.stage import BenchFailed, Server, serving
from rm.shared import instants, protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import Heartbeat, Hello, JobFinished, JobLog, LogLine

BROKEN = (OSError, websocket.WebSocketException)
PAUSE_SECONDS = 0.02
Flood = Callable[[Server, SeededHost], None]


def measure(directory: Path, *, reports: int, sockets: int, frames: int, batches: int) -> Row:
    """Seconds until a host that is not involved, and the health page, are answered again after each flood."""
    row = Row(
        "floods",
        f"{reports:,} reports whose answers nobody reads, {sockets} sockets on one credential, {frames} deeply nested"
        f" frames, {batches} batches of log lines for a job of nobody",
        "the same question to the same server at rest",
    )
    floods: dict[str, Flood] = {
        "reports": lambda server, evil: _report(server, evil, reports),
        "sockets": lambda server, evil: _dial(server, evil, sockets),
        "nested frames": lambda server, evil: _nest(server, evil, frames),
        "log lines": lambda server, evil: _log(server, evil, batches),
    }
    with serving(directory, hosts=2) as (server, (evil, other)):
        bystander = Bystander(server, other)
        at_rest = min(bystander.ask() for _ in range(5))
        for name, flood in floods.items():
            with bystander.asking() as waited:
                with suppress(*BROKEN):
                    flood(server, evil)
                ended = time.monotonic()
                bystander.ask()
                recovered = time.monotonic() - ended
            row.add(f"{name}: others are answered again", recovered, "s", ceiling=at_rest, target=Target(1.0))
            row.add(f"{name}: the longest wait of others meanwhile", max(waited) * 1000, "ms", ceiling=at_rest * 1000)
        bystander.close()
    return row


class Bystander:
    """Another host and somebody who looks at the health page."""

    def __init__(self, server: Server, host: SeededHost) -> None:
        self._server = server
        self._socket = _connect(server, host)
        self._lock = threading.Lock()

    def ask(self) -> float:
        """Seconds until a heartbeat is acknowledged and the health page has answered."""
        begun = time.monotonic()
        with self._lock:
            beat = new_ulid()
            self._socket.send(protocol.encode(Heartbeat(sent_at=instants.to_text(datetime.now(timezone.utc))), beat))
            while (message := protocol.decode(str(self._socket.recv()), protocol.FROM_SERVER)).type != "ack":
                pass
            if getattr(message.payload, "id", "") != beat:
                raise BenchFailed("another message was acknowledged")
        self._server.get("/healthz", cookie="")
        return time.monotonic() - begun

    def asking(self) -> "Asking":
        return Asking(self)

    def close(self) -> None:
        self._socket.close()


class Asking:
    """Asks all the time while it is entered; gives the waits."""

    def __init__(self, bystander: Bystander) -> None:
        self._bystander = bystander
        self._waits: list[float] = [bystander.ask()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self._waits

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.is_set():
            self._waits.append(self._bystander.ask())
            self._over.wait(PAUSE_SECONDS)


def _connect(server: Server, host: SeededHost) -> websocket.WebSocket:
    found = websocket.create_connection(
        server.socket_url, header=[f"Authorization: Bearer {host.credential}"], timeout=15, suppress_origin=True
    )
    found.send(protocol.encode(Hello(protocol_version=1, agent_version="0.1.0", hostname=host.name)))
    return found


def _report(server: Server, evil: SeededHost, count: int) -> None:
    found = _connect(server, evil)
    frame = protocol.encode(JobFinished(job_id=new_ulid(), outcome="failed", message="x" * 500))
    try:
        for _ in range(count):
            found.send(frame)
    finally:
        found.shutdown()


def _dial(server: Server, evil: SeededHost, count: int) -> None:
    found = [_connect(server, evil) for _ in range(count)]
    for one in found:
        one.shutdown()


def _nest(server: Server, evil: SeededHost, count: int) -> None:
    for _ in range(count):
        found = _connect(server, evil)
        with suppress(*BROKEN):
            found.send("[" * 100_000)
            found.send('{"a":' * 50_000)
            found.recv()
        found.shutdown()


def _log(server: Server, evil: SeededHost, count: int) -> None:
    found = _connect(server, evil)
    at = instants.to_text(datetime.now(timezone.utc))
    lines = [LogLine(n=n, at=at, stream="out", text="x" * 1000) for n in range(1, 101)]
    try:
        for _ in range(count):
            found.send(protocol.encode(JobLog(job_id=new_ulid(), lines=lines)))
    finally:
        found.shutdown()
