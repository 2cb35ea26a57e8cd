"""The fleet page of ten thousand hosts."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

from bench import seed
from bench.figures import Row, Target, quantiles
from bench.stage import ROOT, Server, environment, serving

OFFLINE_EVERY = 20
PAGES = (
    ("first page", "/"),
    ("problems", "/?status=problems"),
    ("one tag", "/?tag=web"),
    ("search", "/?q=host-001"),
    ("last page", "/?page={last}"),
)


def measure(directory: Path, *, hosts: int, requests: int) -> Row:
    """Time, size and SQL statements of the fleet page; the ceiling is the sign-in page of the same server."""
    row = Row(
        "dashboard", f"the fleet page of {hosts:,} hosts", "GET /login: the same server and layout without a fleet"
    )
    with serving(directory, hosts=hosts, history=True) as (server, _):
        seed.mark_online(server.data_dir, but_every=OFFLINE_EVERY)
        pages = [(name, path.format(last=-(-hosts // 50))) for name, path in PAGES]
        best, _ = _times(server, "/login", requests, cookie="")
        for name, path in pages:
            found, body = _times(server, path, requests)
            is_first = path == "/"
            row.add(f"{name}, p50", found["p50"], "ms", ceiling=best["p50"])
            row.add(f"{name}, p95", found["p95"], "ms", ceiling=best["p95"], target=Target(25) if is_first else None)
            if is_first:
                row.add("size before gzip", len(body) / 1000, "kB", target=Target(60))
                row.add("size with gzip", len(gzip.compress(body)) / 1000, "kB")
    for name, count in _statements(server.data_dir, [path for _, path in pages]).items():
        label = next(label for label, path in pages if path == name)
        row.add(f"{label}, SQL statements", count, "")
    return row


def _times(server: Server, path: str, requests: int, *, cookie: str | None = None) -> tuple[dict[str, float], bytes]:
    more = {} if cookie is None else {"cookie": cookie}
    body = b""
    took = []
    for number in range(requests + 3):
        begun = time.perf_counter()
        body = server.get(path, **more).data
        if number >= 3:
            took.append((time.perf_counter() - begun) * 1000)
    return quantiles(took), body


def _statements(data_dir: Path, paths: list[str]) -> dict[str, int]:
    """How many SQL statements each page takes, counted by SQLite in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.statements", str(data_dir), *paths],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, int] = json.loads(done.stdout)
    return found
