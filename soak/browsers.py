"""A process of open tabs: streams that are read, pages that are asked for, and one host whose row is watched.

Usage: python -m soak.browsers JOURNAL. Orders and answers are lines of JSON, as in bench/load.py.
"""

import asyncio
import random
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

from bench.load import Browser, allow_files
from bench.orders import serve
from rm.shared import protocol
from rm.shared.protocol import JobProgress
from soak.agents import TROUBLE, SoakAgent
from soak.truth import Journal, KnownJob

Json = dict[str, Any]
PAGES = ("/", "/", "/?status=problems", "/?q=host-0001", "/alerts", "/repositories", "/audit")
PAGE_EVERY = 0.5
MARK_EVERY = 2.0
WATCHING = 3
GRACE = 30


class Pilot(SoakAgent):
    """A host with one long job, whose progress is looked for in the open tabs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sent: dict[str, float] = {}
        self._percent = 0

    async def _log(self, job: KnownJob) -> None:
        self._percent = self._percent % 98 + 1
        percent = self._percent
        frame = protocol.encode(JobProgress(job_id=job.job_id, percent=percent, bytes_done=percent * 10**6))
        with suppress(*TROUBLE):
            if self._is_connected.is_set() and self._socket is not None:
                self.sent[str(percent)] = time.time()
                await self._socket.send(frame)
        await asyncio.sleep(MARK_EVERY)
        if self.is_ending:
            await super()._log(job)

    async def _fire(self) -> None:
        # One job for the whole soak; after a kill it is in the journal.
        if self._queue.empty():
            self._fire_now()


class Tabs:
    """The orders that this process takes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pilot: Pilot | None = None
        self._browsers: list[Browser] = []
        self._took: list[float] = []
        self._failures = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._port, self._cookie = 0, ""

    async def begin(self, url: str, pilot: Json, pace: Json, port: int, cookie: str, browsers: int) -> Json:
        """Open the tabs, and start the host that is watched."""
        self._port, self._cookie = port, cookie
        self._pilot = Pilot(pilot, url, self._journal, pace | {"step_seconds": 0}, defaultdict(list))
        self._pilot.start()
        self._tasks = [asyncio.create_task(self._keep_open(number)) for number in range(browsers)]
        self._tasks.append(asyncio.create_task(self._look_around()))
        return {}

    async def _keep_open(self, number: int) -> None:
        while True:
            browser = Browser(watches=number < WATCHING)
            self._browsers.append(browser)
            with suppress(*TROUBLE, RuntimeError, asyncio.IncompleteReadError):
                await browser.open(port=self._port, path="/live/fleet", cookie=self._cookie)
                assert browser._task is not None
                await browser._task
            browser.close()
            self._browsers.remove(browser)
            await asyncio.sleep(random.uniform(0.5, 3))

    async def _look_around(self) -> None:
        while True:
            begun = time.perf_counter()
            try:
                await asyncio.wait_for(self._get(random.choice(PAGES)), GRACE)
                self._took.append((time.perf_counter() - begun) * 1000)
            except (*TROUBLE, asyncio.IncompleteReadError):
                # a server that is away is no slow page
                self._failures += 1
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
                self._failures += 1
            await asyncio.sleep(PAGE_EVERY)

    async def _get(self, path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4 * 1024 * 1024)
        try:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close\r\n"
            writer.write(f"{head}Cookie: {self._cookie}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path} answered {answer[:100]!r}")
            while await reader.read(256 * 1024):
                pass
        finally:
            writer.close()

    async def sample(self) -> Json:
        """Since the last time: the ms that pages took, the ms from a report to the bytes in a tab, and what failed."""
        assert self._pilot is not None
        sent = self._pilot.sent
        lags: list[float] = []
        shown: set[str] = set()
        for browser in self._browsers[:WATCHING]:
            first: dict[str, float] = {}
            for key, text, at in browser.seen:
                if key == self._pilot.host_id and text in sent and at >= sent[text]:
                    first.setdefault(text, at)
            lags += [round((at - sent[text]) * 1000, 1) for text, at in first.items()]
            shown |= set(first)
        # The row may be drawn again for another reason: what was counted is not counted again.
        for text in shown:
            sent.pop(text, None)
        for browser in self._browsers[:WATCHING]:
            browser.seen.clear()
        found = {"pages": [round(ms, 1) for ms in self._took], "lags": lags, "failed": self._failures}
        self._took, self._failures = [], 0
        return found

    async def wind_up(self) -> Json:
        assert self._pilot is not None
        self._pilot.is_ending = True
        return {}

    async def idle(self) -> Json:
        assert self._pilot is not None
        return {"idle": int(self._pilot.is_idle), "of": 1}

    async def drop(self, share: float) -> Json:
        return {"dropped": 0}


if __name__ == "__main__":
    allow_files()
    uvloop.run(serve(Tabs(Journal(Path(sys.argv[1])))))
