"""Hosts that are connected and do nothing but beat."""

import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import Row, Target
from bench.stage import Ceiling, Load, Server, ceiling, loading, measured, serving

SETTLE_SECONDS = 2


def measure(directory: Path, *, hosts: int, beat_seconds: float, burst_seconds: float) -> Row:
    """Memory, processor time and ack delays of idle hosts, and of all their heartbeats within seconds."""
    row = Row("idle", f"{hosts:,} idle hosts, a heartbeat each in {beat_seconds:g} s", "bare websockets on uvloop")
    with serving(directory, hosts=hosts) as (server, fleet), loading(directory) as load:
        # the first page loads templates and code that every server holds
        server.get("/")
        found = _one(server, load, fleet, beat_seconds, burst_seconds)
    with ceiling(directory) as bare, loading(directory) as load:
        best = _one(bare, load, fleet, beat_seconds, burst_seconds)
    is_full = hosts >= 1000
    row.add("memory, all", found["pss"], "MB", ceiling=best["pss"], target=Target(90) if is_full else None)
    row.add("memory, server without hosts", found["base"], "MB", ceiling=best["base"])
    row.add("memory, per host", found["per_host"], "kB", ceiling=best["per_host"])
    row.add("processor", found["cpu"], "% of a core", ceiling=best["cpu"], target=Target(15))
    for variant, words in (("idle", "ack"), ("burst", f"ack, all beat within {burst_seconds:g} s")):
        for name in ("p50", "p95", "p99"):
            row.add(f"{words}, {name}", found[variant][name], "ms", ceiling=best[variant][name])
    row.add(
        f"processor, all beat within {burst_seconds:g} s", found["burst_cpu"], "% of a core", ceiling=best["burst_cpu"]
    )
    return row


def _one(
    subject: Server | Ceiling, load: Load, fleet: list[Any], beat_seconds: float, burst_seconds: float
) -> dict[str, Any]:
    pids = subject.pids()
    base = machine.pss_mb(pids)
    load.connect(subject.socket_url, fleet)
    time.sleep(SETTLE_SECONDS)
    with measured(pids) as idle:
        beats = load.ask("beat", seconds=beat_seconds)
    with measured(pids) as burst:
        bursts = load.ask("beat", seconds=burst_seconds)
    load.ask("close")
    return {
        "pss": idle.pss_mb,
        "base": base,
        "per_host": (idle.pss_mb - base) * 1000 / len(fleet),
        "cpu": idle.cpu_percent,
        "burst_cpu": burst.cpu_percent,
        "idle": beats["ms"],
        "burst": bursts["ms"],
    }
