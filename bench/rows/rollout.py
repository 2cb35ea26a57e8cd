"""A fleet update of many hosts that are as fast as hosts could be: what is left is the server's own work."""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.figures import Row, Target
from bench.stage import BenchFailed, Load, Server, environment, loading, measured, serving, until
from demo.releases import Releases

NEWS_SECONDS = 8.0
OPEN = ("planned", "running", "cancelling")
MS = 1000


@dataclass
class Rollout:
    """What one fleet update took: seconds of the wall, of the server's processor, of its fleet driver; its memory."""

    wall: float
    cpu: float
    driver: float
    runs: int
    pss: float


def measure(directory: Path, *, hosts: int, wave: int, seconds: float) -> Row:
    """Wall time and processor time of the whole rollout, what it costs for one host, and whether memory stays."""
    row = Row(
        "rollout",
        f"a fleet update of {hosts:,} hosts in waves of {wave}, without soak",
        f"the same hosts only dial anew, {wave} at once",
    )
    releases = Releases(directory / "releases", environment=environment)
    timed = directory / "driver"
    # Twice, since the first leaves the memory that any such work needs once.
    first, second = (releases.make(f"0.{seq}.0", seq) for seq in (2, 3))
    with (
        serving(
            directory,
            application="bench.timed_app:app",
            variables={"RM_BENCH_DRIVER": str(timed)},
            prepare=lambda data_dir: releases.import_into(data_dir, first, "--promote"),
            hosts=hosts,
        ) as (server, fleet),
        loading(directory) as load,
    ):
        server.get("/")
        load.connect(server.socket_url, fleet, at_once=wave)
        load.ask("close")
        until(lambda: _connected(server) == 0, seconds=30, what="the server sees that all have gone")
        with measured(server.pids()) as dialling:
            dialled = load.connect(server.socket_url, fleet, at_once=wave)["seconds"]
        found = _roll_out(server, load, timed, seq=2, hosts=hosts, wave=wave, seconds=seconds)
        releases.import_into(server.data_dir, second, "--promote")
        # Its news goes to every host first.
        time.sleep(NEWS_SECONDS)
        again = _roll_out(server, load, timed, seq=3, hosts=hosts, wave=wave, seconds=seconds)
        load.ask("close")
    row.add("wall", found.wall, "s", ceiling=dialled)
    row.add("hosts a second", hosts / found.wall, "hosts/s", ceiling=hosts / dialled)
    row.add(
        "processor of the server, for each host", found.cpu * MS / hosts, "ms",
        ceiling=dialling.cpu_percent / 100 * dialled * MS / hosts,
    )  # fmt: skip
    row.add("of it the fleet driver", found.driver * MS / hosts, "ms", target=Target(20))
    row.add("memory after the second", again.pss, "MB", ceiling=found.pss, target=Target(1.1, of="ratio"))
    row.notes.append(
        "The processor time for each host holds the order, six phases, the fence, the second connection, the result, "
        f"history and audit. The driver ran {found.runs:,} times. The memory's ceiling is the one after the first "
        "fleet update."
    )
    return row


def _roll_out(server: Server, load: Load, timed: Path, *, seq: int, hosts: int, wave: int, seconds: float) -> Rollout:
    options = {
        "waves": [wave] * (hosts // wave), "max_in_flight": wave, "soak_seconds": 0, "failure_policy": "strict"
    }  # fmt: skip
    begun, cpu = time.monotonic(), machine.cpu_seconds(server.pids())
    driver, runs = _driver(timed)
    path = f"/fleet-updates/{server.ask('POST', '/fleet-updates', options)['id']}"
    updated = load.ask("updated", seq=seq, seconds=seconds)["updated"]
    until(lambda: server.ask("GET", path)["state"] not in OPEN, seconds=30, what="the fleet update ends")
    wall = time.monotonic() - begun
    driver_after, runs_after = _driver(timed)
    state = server.ask("GET", path)["state"]
    if state != "completed" or updated != hosts:
        raise BenchFailed(f"{updated} of {hosts} were updated; the fleet update is {state}")
    used = machine.cpu_seconds(server.pids()) - cpu
    return Rollout(wall, used, driver_after - driver, runs_after - runs, machine.pss_mb(server.pids()))


def _driver(timed: Path) -> tuple[float, int]:
    """The seconds that the fleet driver has had, and how often it ran."""
    text = timed.read_text() if timed.exists() else "0 0"
    spent, runs = text.split() if text else ("0", "0")
    return float(spent), int(runs)


def _connected(server: Server) -> int:
    with closing(sqlite3.connect(server.data_dir / "restic-manager.db", timeout=5)) as database:
        [count] = database.execute("SELECT count(*) FROM hosts WHERE connected_at IS NOT NULL").fetchone()
    return int(count)
