"""Scrapes of a large fleet, one after the other without a pause, while its hosts beat."""

import threading
import time
from pathlib import Path

import urllib3

from bench import machine
from bench.figures import Row, Target, quantile
from bench.stage import BenchFailed, Load, Server, ceiling, loading, serving

FORMATS = ("text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0")
"""In turns: figures in another format than the last are always read anew."""


def measure(directory: Path, *, hosts: int, beating: int, beat_seconds: float, rounds: int) -> Row:
    """How long a scrape takes, and how long heartbeats take while somebody scrapes all the time."""
    row = Row(
        "metrics",
        f"/metrics of {hosts:,} hosts with thirty days of history, scraped without a pause while hosts beat "
        f"{beating / beat_seconds:,.0f} times a second",
        "a bare asyncio server on uvloop that sends the same bytes from memory",
    )
    body = directory / "figures.txt"
    with (
        serving(
            directory, variables={"RM_METRICS_TRUSTED_CIDR": "127.0.0.0/8"}, hosts=hosts, history=True
        ) as (server, fleet),
        loading(directory) as beats,
    ):  # fmt: skip
        beats.connect(server.socket_url, fleet[:beating])
        body.write_bytes(server.get("/metrics", cookie="").data)
        before = machine.pss_mb(server.pids())
        quiet = _beat(beats, beat_seconds, rounds)
        idle = _timed(server, 0, 5)
        with _Scraper(server) as scraper:
            busy = _beat(beats, beat_seconds, rounds)
        together = _two_at_once(server)
        after = machine.pss_mb(server.pids())
        beats.ask("close")
    with ceiling(directory, file=body) as bare:
        best = [_fetched(f"http://127.0.0.1:{bare.file_port}/", FORMATS[0]) for _ in range(10)]
    row.add("scrape, p50", quantile(scraper.took, 0.5), "ms", ceiling=quantile(best, 0.5))
    row.add("scrape, slowest", max(scraper.took), "ms", ceiling=max(best), target=Target(500))
    row.add("scrape while nobody beats, p50", quantile(idle, 0.5), "ms", ceiling=quantile(best, 0.5))
    row.add("two scrapes at once, the later", together, "ms", ceiling=quantile(idle, 0.5))
    for name in ("p50", "p95", "p99"):
        target = Target(50) if name == "p99" else None
        row.add(f"heartbeat meanwhile, {name}", max(one[name] for one in busy), "ms",
                ceiling=max(one[name] for one in quiet), target=target)  # fmt: skip
    row.add("memory afterwards", after, "MB", ceiling=before)
    row.add("answer", body.stat().st_size / 1_000_000, "MB")
    row.notes.append(
        f"{body.read_bytes().count(10):,} lines; {len(scraper.took)} scrapes in {rounds} rounds of {beat_seconds:g} s; "
        "of the rounds' heartbeats the worst is told. Their ceiling is the same server while nobody scrapes, that of "
        "two scrapes at once one scrape, that of the memory the server after its first scrape."
    )
    return row


def _beat(beats: Load, seconds: float, rounds: int) -> list[dict[str, float]]:
    return [beats.ask("beat", seconds=seconds)["ms"] for _ in range(rounds)]


class _Scraper:
    """Scrapes until its block ends; `took` is how long each scrape took."""

    def __init__(self, server: Server) -> None:
        self.took: list[float] = []
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        if not self.took:
            raise BenchFailed("no scrape succeeded")

    def _run(self) -> None:
        while not self._is_over.is_set():
            self.took += _timed(self._server, len(self.took), 1)


def _timed(server: Server, first: int, count: int) -> list[float]:
    return [_fetched(f"{server.url}/metrics", FORMATS[number % 2]) for number in range(first, first + count)]


def _two_at_once(server: Server) -> float:
    """How long it takes until two scrapers that ask in the same moment both have their answer."""
    # So that neither finds figures that are kept.
    _fetched(f"{server.url}/metrics", FORMATS[1])
    begun = time.perf_counter()
    both = [threading.Thread(target=_fetched, args=(f"{server.url}/metrics", FORMATS[0])) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    return (time.perf_counter() - begun) * 1000


def _fetched(url: str, accept: str) -> float:
    """Milliseconds until all of an answer is here; raises BenchFailed unless it is a good one."""
    begun = time.perf_counter()
    answer = urllib3.request("GET", url, headers={"Accept": accept}, retries=False, timeout=60)
    if answer.status != 200:
        raise BenchFailed(f"{url} answered {answer.status}")
    return (time.perf_counter() - begun) * 1000
