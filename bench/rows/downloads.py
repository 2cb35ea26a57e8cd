"""Many hosts that fetch the new agent in the same moment, while the others beat."""

import threading
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import Row, Target
from bench.stage import BenchFailed, ceiling, environment, loading, serving
from demo.releases import Releases


def measure(directory: Path, *, clients: int, beating: int, seconds: float) -> Row:
    """Bytes a second beside a bare file server, and how long heartbeats take meanwhile."""
    row = Row(
        "downloads",
        f"{clients} hosts download the agent at once, again and again for {seconds:g} s, while {beating} others beat",
        "a bare asyncio server on uvloop that sends the same bytes from memory and asks nobody who they are",
    )
    releases = Releases(directory / "releases", environment=environment)
    made = releases.make("0.2.0", 2)
    file = made / "rm-agent"
    with (
        serving(
            directory,
            # Before the start: what is imported later is news for every host, and takes the server a while.
            prepare=lambda data_dir: releases.import_into(data_dir, made, "--promote"),
            hosts=clients + beating,
        ) as (server, fleet),
        loading(directory) as load,
        loading(directory) as beats,
    ):
        [release] = server.ask("GET", "/releases")["items"]
        [artifact] = release["artifacts"]
        beats.connect(server.socket_url, fleet[clients:])
        order = {
            "port": server.port,
            "path": f"/agent/artifact/{artifact['sha256']}",
            "clients": clients,
            "credentials": [host.credential for host in fleet[:clients]],
        }
        quiet = beats.ask("beat", seconds=seconds)["ms"]
        # Once for all: buffers for so many connections are there to stay, and are not what is asked about.
        load.ask("download", seconds=0, **order)
        before = machine.pss_mb(server.pids())
        found, busy = _meanwhile(load, beats, seconds, order)
        after = machine.pss_mb(server.pids())
        beats.ask("close")
    with ceiling(directory, file=file) as bare, loading(directory) as load:
        best = load.ask("download", seconds=seconds, port=bare.file_port, path="/", clients=clients, credentials=[])
    for one in (found, best):
        if one["sizes"] != [artifact["size"]]:
            raise BenchFailed(f"files of {one['sizes']} bytes came in place of {artifact['size']}")
    rates = [one["bytes"] / one["seconds"] / 1_000_000 for one in (found, best)]
    row.add("throughput", rates[0], "MB/s", ceiling=rates[1])
    row.add(
        "downloads",
        found["downloads"] / found["seconds"],
        "downloads/s",
        ceiling=best["downloads"] / best["seconds"],
    )
    row.add("heartbeat meanwhile, p50", busy["p50"], "ms", ceiling=quiet["p50"])
    row.add("heartbeat meanwhile, p95", busy["p95"], "ms", ceiling=quiet["p95"])
    row.add("heartbeat meanwhile, p99", busy["p99"], "ms", ceiling=quiet["p99"], target=Target(50))
    row.add("memory afterwards", after, "MB", ceiling=before, target=Target(1.1, of="ratio"))
    row.notes.append(
        f"The agent has {artifact['size']:,} bytes. The heartbeats' ceiling is the same server while nobody downloads, "
        f"the memory's is the same server after the first {clients} downloads."
    )
    return row


def _meanwhile(load: Any, beats: Any, seconds: float, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Download for a moment longer than the others beat; what both found."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(load.ask("download", seconds=seconds + 0.5, **order)))
    thread.start()
    try:
        busy = beats.ask("beat", seconds=seconds)["ms"]
    finally:
        thread.join()
    if not found:
        raise BenchFailed("the downloads failed")
    return found[0], busy
