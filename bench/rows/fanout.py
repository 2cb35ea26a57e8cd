"""Many open fleet pages while much changes."""

from pathlib import Path
from typing import Any

from bench.figures import Row
from bench.stage import COOKIE, Ceiling, Load, Server, ceiling, loading, measured, serving

SHOWN = 50
WATCHING = 5


def measure(directory: Path, *, hosts: int, browsers: int, rate: float, seconds: float) -> Row:
    """Processor time and delay when hosts that are on screen change; browsers are raw HTTP readers."""
    row = Row(
        "fanout",
        f"{browsers} open fleet pages, {rate:g} changes a second in the {SHOWN} rows they show",
        "bare server that sends one ready-made event of the same size every 250 ms",
    )
    with serving(directory, hosts=hosts, job_state="running") as (server, fleet), loading(directory) as load:
        found = _one(server, server.port, load, fleet[:SHOWN], browsers, rate, seconds)
    with ceiling(directory) as bare, loading(directory) as load:
        best = _one(bare, bare.stream_port, load, fleet[:SHOWN], browsers, rate, seconds)
    row.add("processor", found["cpu"], "% of a core", ceiling=best["cpu"])
    for name in ("p50", "p95"):
        row.add(f"report to bytes in the browser, {name}", found["ms"][name], "ms", ceiling=best["ms"][name])
    row.add("sent to each browser", found["bytes"] / found["seconds"] / 1000, "kB/s",
            ceiling=best["bytes"] / best["seconds"] / 1000)  # fmt: skip
    row.notes.append(
        f"{found['seen']:,} changes were seen by the {min(WATCHING, browsers)} browsers that are watched; "
        "a change that a newer one of the same host overtook before the next flush is never shown."
    )
    return row


def _one(
    subject: Server | Ceiling, port: int, load: Load, fleet: list[Any], browsers: int, rate: float, seconds: float
) -> dict[str, Any]:
    load.connect(subject.socket_url, fleet)
    load.ask("watch", browsers=browsers, port=port, path="/live/fleet", cookie=COOKIE, watching=WATCHING)
    with measured(subject.pids()) as use:
        found = load.ask("change", rate=rate, seconds=seconds)
    load.ask("close")
    return found | {"cpu": use.cpu_percent}
