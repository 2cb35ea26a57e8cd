"""Many hosts that fetch the new agent in the same moment, while the others beat."""

import threading
from pathlib import Path
from typing import Any

from bench.figures import Row, Target
from bench.stage import ceiling, environment, loading, serving
from demo.releases import Releases


def measure(directory: Path, *, clients: int, repetitions: int, beating: int, beat_seconds: float) -> Row:
    """Bytes a second beside a bare file server, and how long heartbeats take meanwhile."""
    row = Row(
        "downloads",
        f"{clients} hosts download the agent at once, {repetitions} times each, while {beating} others beat",
        "a bare asyncio server on uvloop that sends the same bytes from memory",
    )
    releases = Releases(directory / "releases", environment=environment)
    made = releases.make("0.2.0", 2)
    with serving(directory, hosts=beating) as (server, fleet), loading(directory) as load, loading(directory) as beats:
        releases.import_into(server.data_dir, made, "--promote")
        [release] = server.ask("GET", "/releases")["items"]
        [artifact] = release["artifacts"]
        path = f"/agent/artifact/{artifact['sha256']}"
        beats.connect(server.socket_url, fleet)
        credentials = [host.credential for host in fleet]
        quiet = beats.ask("beat", seconds=beat_seconds)
        found, busy = _meanwhile(load, beats, beat_seconds, port=server.port, path=path, credentials=credentials,
                                 clients=clients, repetitions=repetitions)  # fmt: skip
        beats.ask("close")
    file = made / "rm-agent"
    with ceiling(directory, file=file) as bare, loading(directory) as load:
        best = load.ask(
            "download", port=bare.file_port, path="/", clients=clients, repetitions=repetitions, credentials=[]
        )
    rates = [one["bytes"] / one["seconds"] / 1_000_000 for one in (found, best)]
    row.add("throughput", rates[0], "MB/s", ceiling=rates[1])
    row.add("heartbeat meanwhile, p50", busy["ms"]["p50"], "ms", ceiling=quiet["ms"]["p50"])
    row.add("heartbeat meanwhile, p99", busy["ms"]["p99"], "ms", ceiling=quiet["ms"]["p99"], target=Target(50))
    row.notes.append(f"The agent has {artifact['size']:,} bytes. The heartbeats' ceiling is the same server at rest.")
    return row


def _meanwhile(load: Any, beats: Any, seconds: float, **download: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Download and beat at the same time."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(load.ask("download", **download)))
    thread.start()
    busy = beats.ask("beat", seconds=seconds)
    thread.join()
    return found[0], busy
