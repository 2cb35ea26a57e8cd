"""The load generator: many agents, and browsers that only read, in a process of its own.

Takes one JSON order per line on its input and answers each with one line of JSON; ends with its input.
"""

import asyncio
import json
import re
import resource
import time
from datetime import datetime
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.figures import quantiles
from bench.orders import serve
from rm.shared import protocol
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    Heartbeat,
    Hello,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    LogLine,
    UpdateProgress,
    UpdateResult,
)

Json = dict[str, Any]
AT = "2026-01-01T00:00:00.000000Z"
# ten thousand hellos, each behind all that came before it
CONNECT_SECONDS = 600
ANSWER_SECONDS = 60
# three thousand reports at once, each behind all that came before it
FIRE_SECONDS = 240
# what a browser of ours is sent for a row, and what the bare server sends in its place
ROW = re.compile(rb'(?:hx-target="#host-|id="job-)(?=[0-9A-Z]{26}")')
PERCENT = re.compile(rb"(\d+) %")


class Agent:
    """One agent's end of a socket: says hello, sends what it is told, notes when each answer came."""

    def __init__(self, identity: Json) -> None:
        self.host_id: str = identity["host_id"]
        self.job_id: str = identity["job_id"]
        self.name: str = identity["name"]
        self._credential: str = identity["credential"]
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._updates: dict[str, asyncio.Task[None]] = {}
        self._release: Json = {"agent_version": "0.1.0", "agent_seq": 1}
        self._url = ""
        self.socket: ClientConnection | None = None
        self.updated_to = 0

    async def connect(self, url: str) -> float:
        """Dial, say hello, wait for welcome; returns the seconds that it took."""
        begun = time.perf_counter()
        self._url = url
        hello = protocol.encode(
            Hello(
                protocol_version=1,
                guard_version="2",
                **self._release,
                hostname=self.name,
                arch="amd64",
                init="systemd",
                os_name="Debian GNU/Linux 12 (bookworm)",
                restic_version="0.14.0",
                config_version=1,
                running_job=self.job_id or None,
            )
        )
        self.socket = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {self._credential}"},
            compression=None,
            ping_interval=None,
            proxy=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=1,
        )
        await self.socket.send(hello)
        while json.loads(await self.socket.recv())["type"] != "welcome":
            pass
        self._reader = asyncio.create_task(self._read())
        return time.perf_counter() - begun

    async def _read(self) -> None:
        assert self.socket is not None
        try:
            async for frame in self.socket:
                message = json.loads(frame)
                if message["type"] in ("ack", "error"):
                    waiting = self._waiting.pop(message["payload"]["id"], None)
                    if waiting is not None and not waiting.done():
                        if message["type"] == "error":
                            waiting.set_exception(RuntimeError(f"the server refused: {message['payload']}"))
                        else:
                            waiting.set_result(time.perf_counter())
                elif message["type"] == "command.update":
                    order = message["payload"]
                    if order["attempt_id"] not in self._updates:
                        self._updates[order["attempt_id"]] = asyncio.create_task(self._update(order))
        except ConnectionClosed:
            pass

    async def _update(self, order: Json) -> None:
        """An update as fast as a host could be: every phase at once, the fence asked, back with the new release."""
        attempt_id = order["attempt_id"]
        for phase in ("preflight", "draining", "downloading", "verifying", "selftest"):
            await self.send(protocol.encode(UpdateProgress(attempt_id=attempt_id, phase=phase)))
        await self.ask(UpdateProgress(attempt_id=attempt_id, phase="swapping"))
        self._release = {
            "agent_version": order["version"],
            "agent_seq": order["seq"],
            "running_sha256": order["artifact_sha256"],
            "boot_id": "one",
            "update": {"attempt_id": attempt_id, "phase": "trial"},
        }
        await self.close()
        await self.connect(self._url)
        self._release["update"] = None
        await self.ask(UpdateResult(attempt_id=attempt_id, outcome="committed", phase="committed"))
        self.updated_to = order["seq"]

    async def send(self, frame: str) -> None:
        assert self.socket is not None
        await self.socket.send(frame)

    async def ask(self, payload: Any, *, seconds: float = ANSWER_SECONDS) -> float:
        """Send a report and wait for its ack; returns the seconds in between."""
        message_id = new_ulid()
        answered = self.expect(message_id)
        begun = time.perf_counter()
        await self.send(protocol.encode(payload, message_id))
        return await asyncio.wait_for(answered, seconds) - begun

    def expect(self, message_id: str) -> asyncio.Future[float]:
        self._waiting[message_id] = asyncio.get_running_loop().create_future()
        return self._waiting[message_id]

    async def wait_closed(self) -> None:
        if self._reader is not None:
            await self._reader

    async def close(self) -> None:
        if self.socket is not None:
            await self.socket.close()


class Browser:
    """One open tab's stream, read raw; with `watches` it notes when each change of a row arrived."""

    def __init__(self, *, watches: bool) -> None:
        self.bytes = 0
        self.seen: list[tuple[str, str, float]] = []
        self._watches = watches
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, *, port: int, path: str, cookie: str) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port, limit=16 * 1024 * 1024)
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path} answered {head[:200]!r}")
        self._task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        event = b""
        while data := await reader.read(256 * 1024):
            self.bytes += len(data)
            if not self._watches:
                continue
            now = time.time()
            whole, end, rest = (event + data).rpartition(b"\n\n")
            event = rest
            if end:
                self.seen += [(*_row(part), now) for part in ROW.split(whole)[1:]]

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()


class Load:
    """Carries out orders, each a method that takes the order's fields and returns what it measured."""

    def __init__(self) -> None:
        self._agents: list[Agent] = []
        self._browsers: list[Browser] = []
        self._lines_sent = 0

    async def connect(self, url: str, agents: list[Json], at_once: int) -> Json:
        """Connect these agents, so many at a time."""
        self._agents = [Agent(identity) for identity in agents]
        turns = asyncio.Semaphore(at_once)

        beating: list[asyncio.Task[None]] = []

        async def one(agent: Agent) -> float:
            async with turns:
                took = await agent.connect(url)
            # Until all are there the first ones must not fall silent.
            beating.append(asyncio.create_task(_beat_on(agent)))
            return took

        begun = time.perf_counter()
        took = await asyncio.gather(*(one(agent) for agent in self._agents), return_exceptions=True)
        seconds = time.perf_counter() - begun
        for task in beating:
            task.cancel()
        failed = [error for error in took if isinstance(error, BaseException)]
        welcomed = [value for value in took if isinstance(value, float)]
        found = {"seconds": seconds, "welcomed": len(welcomed), "failed": [repr(error) for error in failed[:3]]}
        return found | {"ms": _milliseconds(welcomed)}

    async def wait_closed(self) -> Json:
        await asyncio.wait_for(asyncio.gather(*(agent.wait_closed() for agent in self._agents)), FIRE_SECONDS)
        return {}

    async def beat(self, seconds: float) -> Json:
        """One heartbeat of every agent, spread evenly over so many seconds."""
        begun = time.perf_counter()

        async def one(number: int, agent: Agent) -> tuple[float, float]:
            due = begun + seconds * number / len(self._agents)
            await asyncio.sleep(due - time.perf_counter())
            late = time.perf_counter() - due
            return await agent.ask(Heartbeat(sent_at=AT)), late

        found = await asyncio.gather(*(one(number, agent) for number, agent in enumerate(self._agents)))
        return {"ms": _milliseconds([took for took, _ in found]), "late_ms": _milliseconds([late for _, late in found])}

    async def progress(self, messages: int) -> Json:
        """Every agent sends so many progress messages as fast as it can, and then a heartbeat that is answered last."""
        prepared = [[_progress(agent, number, messages) for number in range(1, messages + 1)] for agent in self._agents]
        return await self._flood(prepared, messages, last=Heartbeat(sent_at=AT))

    async def logs(self, messages: int, lines: int) -> Json:
        """Every agent sends so many batches of lines, and waits until all of them are acknowledged."""
        first = self._lines_sent
        self._lines_sent += messages * lines
        prepared = [
            [_log(agent, first + number * lines, lines) for number in range(messages)] for agent in self._agents
        ]
        return await self._flood(prepared, messages)

    async def _flood(self, prepared: list[list[tuple[str, str]]], messages: int, last: Any = None) -> Json:
        async def one(agent: Agent, frames: list[tuple[str, str]]) -> None:
            answers = [] if last else [agent.expect(message_id) for message_id, _ in frames]
            for _, frame in frames:
                await agent.send(frame)
            if last:
                await agent.ask(last)
            else:
                await asyncio.wait_for(asyncio.gather(*answers), ANSWER_SECONDS)

        begun = time.perf_counter()
        await asyncio.gather(*map(one, self._agents, prepared))
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "messages": messages * len(self._agents)}

    async def watch(self, browsers: int, port: int, path: str, cookie: str, watching: int) -> Json:
        """Open so many streams; some of them note what they are sent."""
        self._browsers = [Browser(watches=number < watching) for number in range(browsers)]
        for browser in self._browsers:
            await browser.open(port=port, path=path, cookie=cookie)
        return {}

    async def change(self, rate: float, seconds: float) -> Json:
        """Progress of one agent after the other, so many changes a second; returns the delays until rows arrived."""
        sent: dict[tuple[str, str], float] = {}
        for browser in self._browsers:
            browser.bytes = 0
        begun = time.perf_counter()
        count = int(rate * seconds)
        for number in range(count):
            agent = self._agents[number % len(self._agents)]
            percent = number // len(self._agents) % 99 + 1
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            sent[agent.host_id, str(percent)] = sent[agent.job_id, str(percent)] = time.time()
            await agent.send(protocol.encode(JobProgress(job_id=agent.job_id, percent=percent, bytes_done=number)))
        took = time.perf_counter() - begun
        await asyncio.sleep(1)
        delays = [delay for browser in self._browsers for delay in _delays(browser, sent)]
        bytes_each = sum(browser.bytes for browser in self._browsers) / max(len(self._browsers), 1)
        return {"seconds": took, "sent": count, "seen": len(delays), "ms": _milliseconds(delays), "bytes": bytes_each}

    async def report(self, gaps: list[float], kind: str) -> Json:
        """One report of each agent with these pauses between them; returns when each was sent (Unix time, ms)."""
        sent = {}
        for agent, gap in zip(self._agents, gaps, strict=True):
            await asyncio.sleep(gap)
            sent[agent.host_id] = time.time() * 1000
            if kind == "started":
                await agent.ask(JobStarted(job_id=agent.job_id))
            else:
                await agent.send(protocol.encode(JobProgress(job_id=agent.job_id, percent=50)))
        await asyncio.sleep(1)
        seen: dict[str, float] = {}
        for host_id, _, at in (entry for browser in self._browsers for entry in browser.seen):
            if host_id in sent and at * 1000 >= sent[host_id]:
                seen.setdefault(host_id, at * 1000)
        return {"sent": sent, "ms": _milliseconds([(seen[key] - sent[key]) / 1000 for key in seen])}

    async def fire(self, due_at: str, after: list[float]) -> Json:
        """A run of each agent's own schedule, so many seconds after it was due: its start, and at once its end."""
        begun = time.perf_counter()
        due_ms = int(datetime.fromisoformat(due_at.replace("Z", "+00:00")).timestamp() * 1000)

        async def one(agent: Agent, seconds: float) -> list[float]:
            await asyncio.sleep(max(0.0, begun + seconds - time.perf_counter()))
            run = {
                "job_id": new_ulid(due_ms), "kind": "backup", "source_group": "files", "schedule_id": "nightly",
                "due_at": due_at,
            }  # fmt: skip
            started = await agent.ask(JobStarted(command="restic backup", **run), seconds=FIRE_SECONDS)
            return [started, await agent.ask(JobFinished(outcome="succeeded", **run), seconds=FIRE_SECONDS)]

        beating = [asyncio.create_task(_beat_on(agent)) for agent in self._agents]
        try:
            found = await asyncio.gather(*map(one, self._agents, after))
        finally:
            for task in beating:
                task.cancel()
        return {"seconds": time.perf_counter() - begun, "ms": _milliseconds([took for both in found for took in both])}

    async def updated(self, seq: int, seconds: float) -> Json:
        """Wait until every agent has committed that release; how many have."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            if all(agent.updated_to == seq for agent in self._agents):
                break
            await asyncio.sleep(0.02)
        return {"updated": sum(agent.updated_to == seq for agent in self._agents)}

    async def download(self, port: int, path: str, clients: int, seconds: float, credentials: list[str]) -> Json:
        """So many clients at once fetch a file over and over, with a host's credential each, for so long."""
        begun = time.perf_counter()

        async def one(number: int) -> list[int]:
            credential = credentials[number % len(credentials)] if credentials else ""
            got = []
            while not got or time.perf_counter() - begun < seconds:
                got.append(await _fetch(port, path, credential))
            return got

        got = [size for sizes in await asyncio.gather(*map(one, range(clients))) for size in sizes]
        took = time.perf_counter() - begun
        return {"bytes": sum(got), "downloads": len(got), "sizes": sorted(set(got)), "seconds": took}

    async def close(self) -> Json:
        for browser in self._browsers:
            browser.close()
        await asyncio.gather(*(agent.close() for agent in self._agents), return_exceptions=True)
        self._browsers, self._agents = [], []
        return {}


async def _beat_on(agent: Agent) -> None:
    """Heartbeats as a real agent sends them: without one for 100 s its connection is cut."""
    while True:
        await asyncio.sleep(protocol.HEARTBEAT_SECONDS)
        await agent.send(protocol.encode(Heartbeat(sent_at=AT)))


async def _fetch(port: int, path: str, credential: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * 1024 * 1024)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: Bearer {credential}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path} answered {answer[:200]!r}")
    got = 0
    while data := await reader.read(256 * 1024):
        got += len(data)
    writer.close()
    return got


def _delays(browser: Browser, sent: dict[tuple[str, str], float]) -> list[float]:
    """How long each change that was shown took to arrive; one that a newer one overtook was never shown."""
    first: dict[tuple[str, str], float] = {}
    for key, text, at in browser.seen:
        if at >= sent.get((key, text), float("inf")):
            first.setdefault((key, text), at)
    return [at - sent[change] for change, at in first.items()]


def _row(part: bytes) -> tuple[str, str]:
    """Whose row it is, and the percentage that it shows."""
    percent = PERCENT.search(part)
    return part[:26].decode(), percent[1].decode() if percent else ""


def _milliseconds(seconds: list[float]) -> Json:
    if not seconds:
        return {"n": 0}
    return {"n": len(seconds)} | {name: value * 1000 for name, value in quantiles(seconds).items()}


def _progress(agent: Agent, number: int, of: int) -> tuple[str, str]:
    message_id = new_ulid()
    payload = JobProgress(
        job_id=agent.job_id,
        percent=100 * number / of,
        files_total=12_000,
        files_done=number,
        bytes_total=10**10,
        bytes_done=number * 10**6,
        seconds_elapsed=number,
        seconds_left=of - number,
        current_files=[f"/srv/files/{number % 100}/report {number}.odt"],
    )
    return message_id, protocol.encode(payload, message_id)


def _log(agent: Agent, first: int, count: int) -> tuple[str, str]:
    message_id = new_ulid()
    lines = [
        LogLine(n=first + n, at=AT, stream="out", text=f"new       /srv/files/{first + n}/report.odt, saved in 0.013s")
        for n in range(1, count + 1)
    ]
    return message_id, protocol.encode(JobLog(job_id=agent.job_id, lines=lines), message_id)


def allow_files() -> None:
    """Take as many open files as this process may have: each agent is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    allow_files()
    uvloop.run(serve(Load()))
