"""Every host at once, after the server was away."""

import statistics
from pathlib import Path

from bench.figures import Row
from bench.stage import ceiling, loading, serving


def measure(directory: Path, *, hosts: int, repetitions: int) -> Row:
    """Seconds until every host is welcomed again, when all dial in the same moment (real agents spread over 3 s)."""
    row = Row(
        "storm",
        f"{hosts:,} hosts dial at once after a restart of the server",
        "bare websockets on uvloop, restarted too",
    )
    seconds: dict[str, list[float]] = {"server": [], "bare": []}
    slowest: dict[str, list[float]] = {"server": [], "bare": []}
    with (
        serving(directory, hosts=hosts) as (server, fleet),
        ceiling(directory) as bare,
        loading(directory) as load,
    ):
        for _ in range(repetitions):
            for name, subject in (("server", server), ("bare", bare)):
                load.connect(subject.socket_url, fleet)
                subject.stop()
                load.ask("wait_closed")
                subject.start()
                found = load.connect(subject.socket_url, fleet, at_once=hosts)
                load.ask("close")
                seconds[name].append(found["seconds"])
                slowest[name].append(found["ms"]["p95"])
    row.add("all welcomed", statistics.median(seconds["server"]), "s", ceiling=statistics.median(seconds["bare"]))
    row.add(
        "dial to welcome, p95", statistics.median(slowest["server"]), "ms", ceiling=statistics.median(slowest["bare"])
    )
    return row
