"""The noisy stream: progress and log lines as fast as the server takes them."""

import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.figures import Row, Target
from bench.stage import BenchFailed, Ceiling, Server, ceiling, loading, serving, until

LINES = 20
PROGRESS_SHOWN_WITHIN = 5


def measure(directory: Path, *, hosts: int, messages: int, batches: int, repetitions: int) -> Row:
    """Messages and lines a second; everything that was acknowledged is looked for in the database afterwards."""
    row = Row(
        "ingest",
        f"{hosts} hosts flood: {messages} progress messages and {batches} batches of {LINES} log lines each",
        "bare websockets on uvloop that parses, acknowledges and keeps nothing",
    )
    with (
        serving(directory, hosts=hosts, job_state="running") as (server, fleet),
        ceiling(directory) as bare,
        loading(directory) as load,
    ):

        def progress(subject: Server | Ceiling) -> float:
            load.connect(subject.socket_url, fleet)
            found = load.ask("progress", messages=messages)
            load.ask("close")
            return float(found["messages"] / found["seconds"])

        def logs(subject: Server | Ceiling) -> float:
            load.connect(subject.socket_url, fleet)
            found = load.ask("logs", messages=batches, lines=LINES)
            load.ask("close")
            return float(found["messages"] * LINES / found["seconds"])

        for name, unit, flood in (("progress", "msg/s", progress), ("log lines", "lines/s", logs)):
            value, best = _alternate(server, bare, flood, repetitions)
            row.add(name, value, unit, ceiling=best, target=Target(0.7, "at least", "ratio"))
        # the load generator numbers lines on through all its floods, those at the ceiling too
        _check(server, hosts=hosts, lines=hosts * batches * LINES * repetitions)
    return row


def _alternate(
    server: Server, bare: Ceiling, flood: Callable[[Server | Ceiling], float], repetitions: int
) -> tuple[float, float]:
    """Medians of alternating repetitions, so that a change of the machine's mood meets both."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        found[0].append(flood(server))
        found[1].append(flood(bare))
    return statistics.median(found[0]), statistics.median(found[1])


def _check(server: Server, *, hosts: int, lines: int) -> None:
    with closing(sqlite3.connect(server.data_dir / "restic-manager.db", timeout=5)) as database:
        stored = database.execute("SELECT count(*) FROM job_log_lines").fetchone()[0]
        if stored != lines:
            raise BenchFailed(f"{lines} lines were acknowledged, but {stored} are in the database")
        done = "SELECT count(*) FROM jobs WHERE json_extract(progress, '$.percent') = 100"
        until(
            lambda: database.execute(done).fetchone()[0] == hosts,
            seconds=PROGRESS_SHOWN_WITHIN,
            what="the last progress of every job is in the database",
        )
