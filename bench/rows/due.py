"""Every host's schedule is due at the same minute."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.figures import Row
from bench.seed import SeededHost
from bench.stage import BenchFailed, Ceiling, Load, Server, ceiling, loading, serving
from rm.shared import instants
from rm.shared.schedule import jitter

JITTER = 600


def measure(directory: Path, *, hosts: int, seconds: float) -> Row:
    """Acks of the start and the end of a run of each host: all at once, and spread by ten minutes of jitter.

    The ten minutes are played in `seconds`; each host's place in them is the one that its agent would choose.
    """
    row = Row(
        "due",
        f"{hosts:,} hosts whose schedules are due at the same minute report the start and the end of a backup",
        "bare websockets on uvloop that acknowledges and keeps nothing",
    )
    with (
        serving(directory, hosts=hosts, history=True) as (server, fleet),
        ceiling(directory) as bare,
        loading(directory) as load,
    ):
        for number, width in enumerate((0, JITTER)):
            due = datetime.now(timezone.utc).replace(second=number, microsecond=0)
            places = [jitter(f"{host.name} nightly", due, width).total_seconds() for host in fleet]
            after = [place * seconds / JITTER for place in places]
            ours, theirs = (_fire(load, subject, fleet, due, after) for subject in (server, bare))
            for share in ("p50", "p95"):
                row.add(f"ack, jitter {width} s, {share}", ours["ms"][share], "ms", ceiling=theirs["ms"][share])
            row.add(f"all reported, jitter {width} s", ours["seconds"], "s", ceiling=theirs["seconds"])
            row.add(f"most runs begun in one second, jitter {width} s", _most_in_a_second(places), "runs")
        _check(server, runs=2 * hosts)
    row.notes.append(
        f"{JITTER // 60} minutes of jitter are played in {seconds:g} s, so the acks are those of a"
        f" {JITTER / seconds:.0f} times denser stream than the real one; runs in one second are counted in real time."
    )
    return row


def _fire(
    load: Load, subject: Server | Ceiling, fleet: list[SeededHost], due: datetime, after: list[float]
) -> dict[str, Any]:
    load.connect(subject.socket_url, fleet)
    found = load.ask("fire", due_at=instants.to_text(due), after=after)
    load.ask("close")
    return found


def _most_in_a_second(places: list[float]) -> float:
    return float(max(Counter(int(place) for place in places).values()))


def _check(server: Server, *, runs: int) -> None:
    """Each run is in the database once, and has ended."""
    with closing(sqlite3.connect(server.data_dir / "restic-manager.db", timeout=5)) as database:
        kept = "SELECT count(*) FROM jobs WHERE due_at IS NOT NULL AND outcome = 'succeeded'"
        found = database.execute(kept).fetchone()[0]
    if found != runs:
        raise BenchFailed(f"{runs} runs were acknowledged, but {found} are in the database")
