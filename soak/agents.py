"""A process of simulated hosts that work: they carry jobs out, report until they are answered, and may be killed.

Usage: python -m soak.agents JOURNAL. Orders and answers are lines of JSON, as in bench/load.py.
"""

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.load import allow_files
from bench.orders import serve
from rm.shared import instants, protocol
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
from soak.truth import Journal, KnownJob

Json = dict[str, Any]
OUTCOMES = ("succeeded",) * 8 + ("warnings", "failed")
BATCH = 20
ANSWER_SECONDS = 20
DIAL_SECONDS = 120
# As `make bench ARGS=update` measures real agents; of a restart, two seconds are the unit's RestartSec.
ORDER_TO_SWAP_SECONDS = 0.9
RESTART_SECONDS = 2.6
# how often a report that was acknowledged is sent once more, as after an acknowledgement that got lost
REPEATED = 0.1
TROUBLE = (OSError, WebSocketException, TimeoutError, asyncio.TimeoutError)


def now_text() -> str:
    return instants.to_text(datetime.now(timezone.utc))


class SoakAgent:
    """One host: a connection that is dialled anew for ever, and one job after the other."""

    def __init__(self, identity: Json, url: str, journal: Journal, pace: Json, took: dict[str, list[float]]) -> None:
        self.host_id: str = identity["host_id"]
        self._name: str = identity["name"]
        self._credential: str = identity["credential"]
        self._url = url
        self._journal = journal
        self._pace = pace
        self._took = took
        self._socket: ClientConnection | None = None
        self._is_connected = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._queue: asyncio.Queue[KnownJob] = asyncio.Queue()
        self._running = ""
        self._update: asyncio.Task[None] | None = None
        self._trial: Json | None = None
        self._handled: set[str] = set()
        self._is_restarting = False
        self.is_ending = False
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Go on with what the journal says is open, and begin."""
        for job in self._journal.jobs.values():
            if job.host_id == self.host_id and not job.finished:
                self._queue.put_nowait(job)
        order = self._journal.updates.get(self.host_id)
        if order is not None:
            self._handled.add(order["attempt_id"])
            self._update = asyncio.create_task(self._do_update(order))
        for work in (self._stay_connected, self._carry_out, self._fire, self._beat):
            self.tasks.append(asyncio.create_task(work()))

    @property
    def is_idle(self) -> bool:
        return self._queue.empty() and not self._running and (self._update is None or self._update.done())

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    # ---- connection ----

    async def _stay_connected(self) -> None:
        await asyncio.sleep(random.uniform(0, self._pace["dial_seconds"]))
        while True:
            with suppress(*TROUBLE):
                await self._connect()
                await self._read()
            self._is_connected.clear()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(OSError("the connection ended"))
            self._waiting.clear()
            if self._is_restarting:
                self._is_restarting = False
                await asyncio.sleep(RESTART_SECONDS * random.uniform(0.9, 1.3))
            else:
                await asyncio.sleep(random.uniform(0, self._pace["dial_seconds"]))

    async def _connect(self) -> None:
        release = self._journal.releases.get(self.host_id, {"agent_version": "0.1.0", "agent_seq": 1})
        hello = Hello(
            protocol_version=1, guard_version="2", **release, update=self._trial, hostname=self._name, arch="amd64",
            init="systemd", os_name="Debian GNU/Linux 12 (bookworm)", restic_version="0.14.0", config_version=1,
            boot_id="one", running_job=self._running or None,
        )  # fmt: skip
        self._socket = await connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._credential}"},
            compression=None, ping_interval=None, proxy=None, open_timeout=DIAL_SECONDS, close_timeout=1,
        )  # fmt: skip
        await self._socket.send(protocol.encode(hello))
        while json.loads(await asyncio.wait_for(self._socket.recv(), DIAL_SECONDS))["type"] != "welcome":
            pass
        self._is_connected.set()

    async def _read(self) -> None:
        assert self._socket is not None
        async for frame in self._socket:
            message = json.loads(frame)
            payload = message["payload"]
            if message["type"] in ("ack", "error"):
                waiting = self._waiting.pop(payload["id"], None)
                if waiting is not None and not waiting.done():
                    if message["type"] == "error":
                        print(f"{self._name}: the server refused: {payload}", file=sys.stderr, flush=True)
                    waiting.set_result(None)
            elif message["type"] == "command.run":
                self._take(payload)
            elif message["type"] == "command.update" and payload["attempt_id"] not in self._handled:
                self._handled.add(payload["attempt_id"])
                self._journal.note(what="update", host_id=self.host_id, order=payload)
                self._update = asyncio.create_task(self._do_update(payload))

    async def _ask(self, payload: Any, kind: str) -> None:
        """Send a report until it is answered, over as many connections as that takes."""
        message_id = new_ulid()
        frame = protocol.encode(payload, message_id)
        is_first = True
        while True:
            await self._is_connected.wait()
            waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
            begun = time.perf_counter()
            try:
                assert self._socket is not None
                await self._socket.send(frame)
                await asyncio.wait_for(waiting, ANSWER_SECONDS)
            except TROUBLE:
                is_first = False
                await asyncio.sleep(0.1)
                continue
            finally:
                self._waiting.pop(message_id, None)
            if is_first:
                self._took[kind].append((time.perf_counter() - begun) * 1000)
            return

    async def _beat(self) -> None:
        await asyncio.sleep(random.uniform(0, self._pace["beat_seconds"]))
        while True:
            await self._ask(Heartbeat(sent_at=now_text()), "heartbeat")
            await asyncio.sleep(self._pace["beat_seconds"])

    # ---- jobs ----

    def _take(self, order: Json) -> None:
        known = self._journal.jobs.get(order["job_id"])
        if known is None:
            # Told to the server before, and killed before it was written down: only its end can be said.
            outcome = "lost" if order["already_started"] else random.choice(OUTCOMES)
            self._queue.put_nowait(self._plan(order["job_id"], outcome, due_at=""))
        elif known.finished or known.job_id != self._running:
            self._queue.put_nowait(known)

    def _plan(self, job_id: str, outcome: str, *, due_at: str) -> KnownJob:
        lines = 0 if outcome == "lost" else random.randint(1, 4 * BATCH)
        self._journal.note(
            what="job", job_id=job_id, host_id=self.host_id, outcome=outcome, lines=lines, due_at=due_at
        )  # fmt: skip
        return self._journal.jobs[job_id]

    async def _fire(self) -> None:
        await asyncio.sleep(random.uniform(0, self._pace["fire_seconds"]))
        while not self.is_ending:
            if self._update is None or self._update.done():
                self._fire_now()
            await asyncio.sleep(self._pace["fire_seconds"] * random.uniform(0.5, 1.5))

    def _fire_now(self) -> None:
        """A run of the host's own schedule is due."""
        due_at = datetime.now(timezone.utc)
        job_id = new_ulid(int(due_at.timestamp() * 1000))
        self._queue.put_nowait(self._plan(job_id, random.choice(OUTCOMES), due_at=instants.to_text(due_at)))

    async def _carry_out(self) -> None:
        while True:
            job = await self._queue.get()
            self._running = job.job_id
            try:
                await self._report(job)
            finally:
                self._running = ""

    async def _report(self, job: KnownJob) -> None:
        run: Json = {"job_id": job.job_id}
        if job.due_at:
            run |= {"kind": "backup", "source_group": "files", "schedule_id": "nightly", "due_at": job.due_at}
        if not job.started and job.outcome != "lost":
            await self._ask(JobStarted(command="restic backup", **run), "started")
            self._journal.note(what="started", job_id=job.job_id)
        while job.lines_kept < job.lines:
            await self._log(job)
        if job.finished:
            return await self._ask(JobFinished(outcome=job.outcome, **run), "repeated")
        await self._ask(JobFinished(outcome=job.outcome, **run), "finished")
        self._journal.note(what="finished", job_id=job.job_id)
        if random.random() < REPEATED:
            await self._ask(JobFinished(outcome=job.outcome, **run), "repeated")
        return None

    async def _log(self, job: KnownJob) -> None:
        first, last = job.lines_kept + 1, min(job.lines_kept + BATCH, job.lines)
        lines = [LogLine(n=n, at=now_text(), stream="out", text=job.text(n)) for n in range(first, last + 1)]
        await self._ask(JobLog(job_id=job.job_id, lines=lines), "log")
        self._journal.note(what="lines", job_id=job.job_id, to=last)
        progress = JobProgress(
            job_id=job.job_id, percent=100 * last / job.lines, bytes_done=last * 10**6, seconds_elapsed=last
        )
        with suppress(*TROUBLE):
            if self._is_connected.is_set() and self._socket is not None:
                await self._socket.send(protocol.encode(progress))
        await asyncio.sleep(self._pace["step_seconds"] * random.uniform(0.5, 1.5))

    # ---- update ----

    async def _do_update(self, order: Json) -> None:
        attempt_id = order["attempt_id"]
        release = {
            "agent_version": order["version"], "agent_seq": order["seq"], "running_sha256": order["artifact_sha256"]
        }  # fmt: skip
        if self._journal.releases.get(self.host_id) != release:
            while self._running or not self._queue.empty():
                await asyncio.sleep(0.2)
            for phase in ("preflight", "draining", "downloading", "verifying", "selftest"):
                await self._send(UpdateProgress(attempt_id=attempt_id, phase=phase))
                await asyncio.sleep(ORDER_TO_SWAP_SECONDS / 5 * random.uniform(0.5, 1.5))
            await self._ask(UpdateProgress(attempt_id=attempt_id, phase="swapping"), "update")
            self._journal.note(what="release", host_id=self.host_id, release=release)
        self._trial = {"attempt_id": attempt_id, "phase": "trial"}
        self._is_connected.clear()
        self._is_restarting = True
        self.drop()
        await self._ask(UpdateResult(attempt_id=attempt_id, outcome="committed", phase="committed"), "update")
        self._trial = None
        self._journal.note(what="updated", host_id=self.host_id)

    async def _send(self, payload: Any) -> None:
        await self._is_connected.wait()
        with suppress(*TROUBLE):
            assert self._socket is not None
            await self._socket.send(protocol.encode(payload))


class Hosts:
    """The orders that this process takes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._agents: list[SoakAgent] = []
        self._took: dict[str, list[float]] = defaultdict(list)

    async def begin(self, url: str, agents: list[Json], pace: Json) -> Json:
        """Start these hosts; they connect by themselves."""
        self._agents = [SoakAgent(identity, url, self._journal, pace, self._took) for identity in agents]
        for agent in self._agents:
            agent.start()
        return {}

    async def sample(self) -> Json:
        """The delays of acknowledgements since the last time, in ms by kind of report."""
        found = {kind: [round(ms, 2) for ms in took] for kind, took in self._took.items()}
        self._took.clear()
        return {"ms": found}

    async def drop(self, share: float) -> Json:
        """Cut the connections of so many hosts without a word."""
        chosen = random.sample(self._agents, int(len(self._agents) * share))
        for agent in chosen:
            agent.drop()
        return {"dropped": len(chosen)}

    async def wind_up(self) -> Json:
        """Fire no more."""
        for agent in self._agents:
            agent.is_ending = True
        return {}

    async def idle(self) -> Json:
        """How many hosts have nothing left to report."""
        return {"idle": sum(agent.is_idle for agent in self._agents), "of": len(self._agents)}


if __name__ == "__main__":
    allow_files()
    uvloop.run(serve(Hosts(Journal(Path(sys.argv[1])))))
