"""The list of five thousand snapshots, as a page and as it arrives."""

import gzip
import sqlite3
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

from bench import seed
from bench.figures import Row, Target, quantiles
from bench.stage import Server, serving
from rm.events import EventBus
from rm.services.snapshots import keep_report
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import MAX_SNAPSHOTS_PER_REPORT, Snapshot, SnapshotsReport
from rm.store import database
from rm.store.migrate import migrate

TAGS = ("etc", "home", "database", "mail")
PAGES = (
    ("first page", "/hosts/{host}/snapshots"),
    ("last page", "/hosts/{host}/snapshots?page={last}"),
    ("search", "/hosts/{host}/snapshots?q=/srv/data-7"),
    ("one tag", "/hosts/{host}/snapshots?tag=mail"),
    ("whole repository", "/repositories/{repository}/snapshots"),
)


def measure(directory: Path, *, snapshots: int, requests: int) -> Row:
    """Time and size of the list's pages, and how long a new listing holds the server up, part by part."""
    row = Row(
        "snapshots", f"a list of {snapshots:,} snapshots", "GET /login: the same server and layout without a list"
    )
    with serving(directory, hosts=2, history=True) as (server, fleet):
        host_id = fleet[0].host_id
        repository_id = _fill(server.data_dir, host_id, fleet[0].name, snapshots)
        best, _ = _times(server, "/login", requests, cookie="")
        for name, path in PAGES:
            address = path.format(host=host_id, repository=repository_id, last=max(1, -(-snapshots // 50)))
            found, body = _times(server, address, requests)
            is_first = name == "first page"
            row.add(f"{name}, p50", found["p50"], "ms", ceiling=best["p50"])
            row.add(f"{name}, p95", found["p95"], "ms", ceiling=best["p95"], target=Target(50) if is_first else None)
            if is_first:
                row.add("size before gzip", len(body) / 1000, "kB", target=Target(80))
                row.add("size with gzip", len(gzip.compress(body)) / 1000, "kB")
    longest, whole = _arrival(directory / "arrival", snapshots)
    row.add("a new listing, longest part", longest, "ms", target=Target(100))
    row.add("a new listing, all parts", whole, "ms")
    return row


def _times(server: Server, path: str, requests: int, *, cookie: str | None = None) -> tuple[dict[str, float], bytes]:
    more = {} if cookie is None else {"cookie": cookie}
    body, took = b"", []
    for number in range(requests + 3):
        begun = time.perf_counter()
        body = server.get(path, **more).data
        if number >= 3:
            took.append((time.perf_counter() - begun) * 1000)
    return quantiles(took), body


def _listed(number: int, now: datetime, hostname: str) -> Snapshot:
    return Snapshot(
        id=f"{number:08x}" * 8,
        time=instants.to_text(now - timedelta(hours=6 * number)),
        hostname=hostname,
        username="root",
        paths=["/etc", f"/srv/data-{number % 10}", "/home"],
        tags=[TAGS[number % len(TAGS)]],
        total_bytes=10**10 + number,
        total_files=100_000 + number,
        data_added=10**6 + number,
        utc_offset_minutes=60,
    )


def _reports(repository_id: str, hostname: str, count: int, now: datetime) -> list[SnapshotsReport]:
    items = [_listed(number, now, hostname) for number in range(count)]
    size = MAX_SNAPSHOTS_PER_REPORT
    parts = [items[begin : begin + size] for begin in range(0, count, size)]
    listing_id = new_ulid()
    return [
        SnapshotsReport(
            repository_id=repository_id, listing_id=listing_id, taken_at=instants.to_text(now), total=count,
            part=number, is_last=number == len(parts) - 1, items=part,
        )
        for number, part in enumerate(parts)
    ]  # fmt: skip


def _fill(data_dir: Path, host_id: str, hostname: str, count: int) -> str:
    """The snapshots written into the database of a running server, which nobody tells; their repository."""
    now = datetime.now(timezone.utc)
    with closing(sqlite3.connect(data_dir / "restic-manager.db", timeout=10)) as rows, rows:
        (repository_id,) = rows.execute("SELECT repository_id FROM hosts WHERE id = ?", (host_id,)).fetchone()
        items = [_listed(number, now, hostname) for number in range(count)]
        rows.executemany(
            "INSERT INTO snapshots (repository_id, id, time, hostname, username, paths, tags, total_bytes, total_files,"
            " data_added, listing_id) VALUES (?, ?, ?, ?, 'root', ?, ?, ?, ?, ?, '1')",
            [
                (
                    repository_id, item.id, item.time, item.hostname, str(item.paths).replace("'", '"'),
                    str(item.tags).replace("'", '"'), item.total_bytes, item.total_files, item.data_added,
                )
                for item in items
            ],
        )  # fmt: skip
        rows.execute(
            "INSERT INTO snapshot_listings (repository_id, listing_id, taken_at, host_id, total)"
            " VALUES (?, '1', ?, ?, ?)",
            (repository_id, instants.to_text(now), host_id, count),
        )
    return str(repository_id)


def _arrival(data_dir: Path, count: int) -> tuple[float, float]:
    """Milliseconds that the longest part of a listing takes, and all of them, where there is one already."""
    now = datetime.now(timezone.utc)
    fleet = seed.seed(data_dir, hosts=1, history=True)
    file = data_dir / "restic-manager.db"
    migrate(file, now=now)
    database.open_database(file)
    took: list[float] = []
    with database.connection():
        host_id = fleet[0].host_id
        (repository_id,) = database.db.execute_sql("SELECT repository_id FROM hosts").fetchone()
        for later in (timedelta(), timedelta(seconds=1)):
            took = []
            for report in _reports(repository_id, fleet[0].name, count, now + later):
                begun = time.perf_counter()
                keep_report(EventBus(), host_id=host_id, report=report, now=now + later)
                took.append((time.perf_counter() - begun) * 1000)
    database.db.close()
    return max(took), sum(took)
