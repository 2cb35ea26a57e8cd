"""Ten thousand hosts on one server: what they cost at rest, how pages feel among them, and how they come back."""

import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import Row, Target, quantiles
from bench.stage import Ceiling, Load, Server, ceiling, loading, measured, serving

SETTLE_SECONDS = 10
# As many as a real fleet lets in at a time: agents spread their dialling.
AT_ONCE = 100


def measure(directory: Path, *, hosts: int, beat_seconds: float, pages: int) -> Row:
    """Memory, processor, acks and pages of a large idle fleet, and all of it dialling anew after a restart."""
    row = Row(
        "fleet", f"{hosts:,} connected hosts, a heartbeat each in {beat_seconds:g} s", "bare websockets on uvloop"
    )
    with serving(directory, hosts=hosts) as (server, fleet), loading(directory) as load:
        quiet = _pages(server, pages)
        found = _rest(server, load, fleet, beat_seconds)
        load.order("beat", seconds=beat_seconds)
        busy = _pages(server, pages)
        load.answer()
        found |= _storm(server, load, fleet)
    with ceiling(directory) as bare, loading(directory) as load:
        best = _rest(bare, load, fleet, beat_seconds)
        best |= _storm(bare, load, fleet)
    is_full = hosts >= 10_000
    row.add("memory, all", found["pss"], "MB", ceiling=best["pss"], target=Target(450) if is_full else None)
    row.add("memory, server without hosts", found["base"], "MB", ceiling=best["base"])
    row.add("memory, per host", found["per_host"], "kB", ceiling=best["per_host"])
    row.add("processor", found["cpu"], "% of a core", ceiling=best["cpu"], target=Target(15) if is_full else None)
    for name in ("p50", "p95", "p99"):
        row.add(f"ack, {name}", found["ms"][name], "ms", ceiling=best["ms"][name])
    for name in ("p50", "p95"):
        row.add(f"fleet page, {name}", busy[name], "ms", ceiling=quiet[name])
    row.add("storm, all welcomed", found["storm"], "s", ceiling=best["storm"])
    row.add("storm, dial to welcome, p95", found["storm_ms"]["p95"], "ms", ceiling=best["storm_ms"]["p95"])
    row.add("storm, processor for each host", found["storm_cpu"], "ms", ceiling=best["storm_cpu"])
    row.notes.append(
        "The fleet page's ceiling is the same page of the same server before any host connected. In the storm all dial"
        " in the same moment, after a restart of the server; real agents spread over 3 s and wait longer each time."
    )
    return row


def _rest(subject: Server | Ceiling, load: Load, fleet: list[Any], beat_seconds: float) -> dict[str, Any]:
    pids = subject.pids()
    base = machine.pss_mb(pids)
    load.connect(subject.socket_url, fleet, at_once=AT_ONCE)
    time.sleep(SETTLE_SECONDS)
    with measured(pids) as idle:
        beats = load.ask("beat", seconds=beat_seconds)
    per_host = (idle.pss_mb - base) * 1000 / len(fleet)
    return {"pss": idle.pss_mb, "base": base, "per_host": per_host, "cpu": idle.cpu_percent, "ms": beats["ms"]}


def _storm(subject: Server | Ceiling, load: Load, fleet: list[Any]) -> dict[str, Any]:
    subject.stop()
    load.ask("wait_closed")
    subject.start()
    before = machine.cpu_seconds(subject.pids())
    found = load.connect(subject.socket_url, fleet, at_once=len(fleet))
    cpu = machine.cpu_seconds(subject.pids()) - before
    load.ask("close")
    return {"storm": found["seconds"], "storm_ms": found["ms"], "storm_cpu": cpu * 1000 / len(fleet)}


def _pages(server: Server, count: int) -> dict[str, float]:
    took = []
    for number in range(count + 3):
        begun = time.perf_counter()
        server.get("/")
        if number >= 3:
            took.append((time.perf_counter() - begun) * 1000)
    return quantiles(took)
