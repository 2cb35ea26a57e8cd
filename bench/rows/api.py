"""Lists of the API over a large fleet, as a program asks for them."""

import json
import time
from pathlib import Path

from bench import seed
from bench.figures import Row, Target, quantiles
from bench.stage import Server, serving

OFFLINE_EVERY = 20
Lists = tuple[tuple[str, str], ...]
LISTS: Lists = (
    ("hosts, first page", "/api/v1/hosts"),
    ("jobs of a host", "/api/v1/hosts/{host}/jobs"),
    ("repositories", "/api/v1/repositories"),
    ("alerts", "/api/v1/alerts"),
    ("incidents", "/api/v1/incidents?state=open"),
    ("audit log", "/api/v1/audit"),
)
NARROWED: Lists = (
    ("hosts, last page", "/api/v1/hosts?offset={last}"),
    ("hosts, one tag", "/api/v1/hosts?tag=web"),
    ("hosts, search", "/api/v1/hosts?q=host-001"),
)


def measure(directory: Path, *, hosts: int, requests: int) -> Row:
    """How long a page of each list takes; the ceiling is who the caller is, which reads no fleet."""
    row = Row("api", f"lists of the API with {hosts:,} hosts, 50 items a page", "GET /api/v1/me: the same server")
    with serving(directory, hosts=hosts, history=True) as (server, fleet):
        seed.mark_online(server.data_dir, but_every=OFFLINE_EVERY)
        best, _ = _times(server, "/api/v1/me", requests)
        for lists, name, target in ((LISTS, "a list", Target(25)), (NARROWED, "a part of the hosts", None)):
            slowest = _each(row, server, lists, requests, best=best, last=max(0, hosts - 50), host=fleet[0].host_id)
            row.add(f"{name}, the slowest, p95", slowest, "ms", ceiling=best["p95"], target=target)
    return row


def _each(
    row: Row, server: Server, lists: Lists, requests: int, *, best: dict[str, float], **words: object
) -> float:  # fmt: skip
    slowest = 0.0
    for name, path in lists:
        found, size = _times(server, path.format(**words), requests)
        slowest = max(slowest, found["p95"])
        row.add(f"{name}, p50", found["p50"], "ms", ceiling=best["p50"])
        row.add(f"{name}, p95", found["p95"], "ms", ceiling=best["p95"])
        if path == "/api/v1/hosts":
            row.add("hosts, size of a page", size / 1000, "kB")
    return slowest


def _times(server: Server, path: str, requests: int) -> tuple[dict[str, float], int]:
    took, body = [], b""
    for number in range(requests + 3):
        begun = time.perf_counter()
        body = server.get(path).data
        if number >= 3:
            took.append((time.perf_counter() - begun) * 1000)
    json.loads(body)
    return quantiles(took), len(body)
