"""Alerts of a fleet that loses its one repository."""

import json
import subprocess
import sys
from pathlib import Path

from bench import seed
from bench.figures import Row, Target, quantiles
from bench.stage import ROOT, BenchFailed, environment


def measure(directory: Path, *, hosts: int) -> Row:
    """Time of a pass over healthy hosts, of the alerts of a lost repository, and of the pages that show them."""
    row = Row(
        "alerts",
        f"alerts of {hosts:,} hosts with one repository, which is lost",
        "the alert's row and its line in the timeline, inserted alone; for pages: GET /login",
    )
    data_dir = directory / "data"
    seed.seed(data_dir, hosts=hosts, history=True)
    done = subprocess.run(
        [sys.executable, "-m", "bench.alert_passes", str(data_dir)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=220,
    )  # fmt: skip
    if done.returncode:
        raise BenchFailed(done.stderr.strip()[-500:])
    found = json.loads(done.stdout)
    healthy, bare = quantiles(found["healthy"]), found["bare"]
    # the least of three: what else runs on the machine only ever adds
    lost = min(found["losses"], key=lambda one: one["ms"])
    row.add("pass over healthy hosts, p95", healthy["p95"], "ms", target=Target(200))
    row.add("repository lost, evaluation", lost["ms"], "ms", ceiling=bare["ms"], target=Target(1000))
    row.add("repository lost, CPU", lost["cpu_ms"], "ms", ceiling=bare["cpu_ms"])
    row.add("repository lost, longest chunk", lost["longest_ms"], "ms", target=Target(50))
    row.add("incidents", found["incidents"], "", target=Target(1))
    row.add("notifications", found["deliveries"], "", target=Target(1))
    row.add("alerts in it", found["alerts"], "")
    row.add("pass while it is lost, p95", quantiles(found["lost_pass"])["p95"], "ms", target=Target(200))
    for name in ("list", "incident"):
        best = quantiles(found["page_login"])["p95"]
        row.add(f"page of the {name}, p95", quantiles(found[f"page_{name}"])["p95"], "ms", ceiling=best)
    row.add("repository found again, evaluation", found["found"]["ms"], "ms")
    if (found["incidents"], found["deliveries"], found["alerts"], found["left"]) != (1, 1, hosts + 1, 0):
        raise BenchFailed(f"{found['incidents']} incidents, {found['deliveries']} notifications, {found['left']} left")
    row.notes.append(
        "Timed is what alerts add to the report of a failed backup, in chunks of 50 hosts; judging the backup and the"
        " commit of each report are in the rows ingest and due. Lost three times, the quickest is told:"
        f" {', '.join(format(one['ms'], ',.0f') for one in found['losses'])} ms."
    )
    return row
