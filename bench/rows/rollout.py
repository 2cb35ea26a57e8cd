"""A fleet update of many hosts that are as fast as hosts could be: what is left is the server's own work."""

import time
from pathlib import Path

from bench import machine
from bench.figures import Row, Target
from bench.stage import BenchFailed, environment, loading, measured, serving, until
from demo.releases import Releases

OPEN = ("planned", "running", "cancelling")
VERSION, SEQ = "0.2.0", 2


def measure(directory: Path, *, hosts: int, wave: int, seconds: float) -> Row:
    """Wall time and processor time of the whole rollout, and what it costs for one host."""
    row = Row(
        "rollout",
        f"a fleet update of {hosts:,} hosts in waves of {wave}, without soak",
        f"the same hosts only dial anew, {wave} at once",
    )
    releases = Releases(directory / "releases", environment=environment)
    made = releases.make(VERSION, SEQ)
    with serving(directory, hosts=hosts) as (server, fleet), loading(directory) as load:
        releases.import_into(server.data_dir, made, "--promote")
        server.get("/")
        load.connect(server.socket_url, fleet, at_once=wave)
        load.ask("close")
        time.sleep(1)
        with measured(server.pids()) as dialling:
            dialled = load.connect(server.socket_url, fleet, at_once=wave)
        before = machine.pss_mb(server.pids())
        waves = [wave] * (hosts // wave)
        with measured(server.pids()) as used:
            begun = time.monotonic()
            options = {"waves": waves, "max_in_flight": wave, "soak_seconds": 0, "failure_policy": "strict"}
            found = server.ask("POST", "/fleet-updates", options)
            updated = load.ask("updated", seconds=seconds)
            path = f"/fleet-updates/{found['id']}"
            until(
                lambda: server.ask("GET", path)["state"] not in OPEN, seconds=30, what="the fleet update ends"
            )  # fmt: skip
            wall = time.monotonic() - begun
        ended = server.ask("GET", path)
        if ended["state"] != "completed" or updated["updated"] != hosts:
            raise BenchFailed(f"{updated['updated']} of {hosts} were updated; the fleet update is {ended['state']}")
        load.ask("close")
    row.add("wall", wall, "s", ceiling=dialled["seconds"])
    row.add(
        "processor of the server, for each host", used.cpu_percent / 100 * wall * 1000 / hosts, "ms",
        ceiling=dialling.cpu_percent / 100 * dialled["seconds"] * 1000 / hosts, target=Target(20),
    )  # fmt: skip
    row.add("hosts a second", hosts / wall, "hosts/s", ceiling=hosts / dialled["seconds"])
    row.add("memory afterwards", used.pss_mb, "MB", ceiling=before)
    row.notes.append(
        "The processor time for each host holds all of it: the order, six phases, the fence, the second connection, "
        "the result, the audit, and the fleet driver; the driver alone is less."
    )
    return row
