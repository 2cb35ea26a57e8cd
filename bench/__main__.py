"""`make bench`: measures each row, prints it and keeps it; --quick is small and keeps nothing; names choose rows."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from bench import machine, report
from bench.figures import Row
from bench.rows import (
    agent,
    alerts,
    api,
    backup,
    browse,
    browser,
    dashboard,
    downloads,
    due,
    fanout,
    fleet,
    floods,
    idle,
    ingest,
    metrics,
    rollout,
    snapshots,
    storm,
    update,
)
from bench.stage import BENCH_PYTHON, BenchFailed, limited, scratch

Sizes = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A row, how large it is in full and when quick, and the seconds that each may take."""

    measure: Callable[..., Row]
    full: Sizes
    quick: Sizes
    full_seconds: float = 120
    quick_seconds: float = 40


PLANS = {
    "idle": Plan(
        idle.measure,
        {"hosts": 1000, "beat_seconds": 30, "burst_seconds": 4},
        {"hosts": 100, "beat_seconds": 5, "burst_seconds": 1},
    ),
    "ingest": Plan(
        ingest.measure,
        {"hosts": 200, "messages": 300, "batches": 60, "repetitions": 3},
        {"hosts": 50, "messages": 100, "batches": 20, "repetitions": 1},
    ),
    "fleet": Plan(
        fleet.measure,
        {"hosts": 10_000, "beat_seconds": 30, "pages": 60},
        {"hosts": 300, "beat_seconds": 5, "pages": 20},
        full_seconds=1200,
        quick_seconds=90,
    ),
    "storm": Plan(storm.measure, {"hosts": 1000, "repetitions": 2}, {"hosts": 100, "repetitions": 1}),
    "floods": Plan(
        floods.measure,
        {"reports": 10_000, "sockets": 200, "frames": 20, "batches": 200},
        {"reports": 1000, "sockets": 20, "frames": 3, "batches": 20},
    ),
    "dashboard": Plan(dashboard.measure, {"hosts": 10_000, "requests": 100}, {"hosts": 1000, "requests": 30}),
    "due": Plan(due.measure, {"hosts": 3000, "seconds": 60}, {"hosts": 200, "seconds": 5}, full_seconds=600),
    "alerts": Plan(alerts.measure, {"hosts": 10_000}, {"hosts": 500}, full_seconds=240),
    "api": Plan(api.measure, {"hosts": 10_000, "requests": 100}, {"hosts": 1000, "requests": 30}),
    "snapshots": Plan(snapshots.measure, {"snapshots": 5000, "requests": 100}, {"snapshots": 1000, "requests": 30}),
    "metrics": Plan(
        metrics.measure,
        {"hosts": 10_000, "beating": 1000, "beat_seconds": 3, "rounds": 5},
        {"hosts": 1000, "beating": 100, "beat_seconds": 1, "rounds": 2},
        full_seconds=240,
    ),
    "fanout": Plan(
        fanout.measure,
        {"hosts": 1000, "browsers": 50, "rate": 200, "seconds": 10},
        {"hosts": 100, "browsers": 10, "rate": 100, "seconds": 3},
    ),
    "browser": Plan(browser.measure, {"hosts": 50}, {"hosts": 10}),
    "agent": Plan(agent.measure, {"seconds": 60}, {"seconds": 5}),
    "backup": Plan(
        backup.measure,
        {"megabytes": 500, "small_files": 5000, "repetitions": 5},
        {"megabytes": 50, "small_files": 500, "repetitions": 1},
        full_seconds=180,
    ),
    "browse": Plan(
        browse.measure,
        {"files": 1_000_000, "folder_files": 10_000, "repetitions": 5},
        {"files": 20_000, "folder_files": 1000, "repetitions": 2},
        full_seconds=1500,
        quick_seconds=90,
    ),
    "update": Plan(update.measure, {"repetitions": 5}, {"repetitions": 1}, full_seconds=240, quick_seconds=90),
    "rollout": Plan(
        rollout.measure,
        {"hosts": 500, "wave": 50, "seconds": 180},
        {"hosts": 50, "wave": 10, "seconds": 60},
        full_seconds=240,
        quick_seconds=90,
    ),
    "downloads": Plan(
        downloads.measure,
        {"clients": 100, "beating": 200, "seconds": 10},
        {"clients": 20, "beating": 50, "seconds": 2},
    ),
}


class Interrupted(Exception):
    """Somebody wants the benchmark to end."""


def main() -> int:
    """The exit code: 0 when every row could be measured, whether or not its targets were met."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    # seeding opens the store of many servers; what it says to their owners is of no interest here
    logging.disable(logging.WARNING)
    names = arguments.rows or list(PLANS)
    described = machine.describe(BENCH_PYTHON)
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    failed: list[str] = []
    begun = time.monotonic()
    try:
        for name in names:
            plan = PLANS[name]
            surroundings = machine.Surroundings()
            row_begun = time.monotonic()
            try:
                row = run(plan, quick=arguments.quick)
            except BenchFailed as error:
                print(f"\n{name}: NOT MEASURED: {error}", flush=True)
                failed.append(name)
                continue
            others = surroundings.share_of_others()
            print(report.said(row), flush=True)
            took = time.monotonic() - row_begun
            print(f"  took {took:.0f} s; other programs used {others:.0%} of the machine", flush=True)
            if not arguments.quick:
                report.keep(row, machine=described, others=others)
                report.write_page(list(PLANS))
    except Interrupted:
        print("\nStopped.", flush=True)
        return 130
    print(f"\n{len(names) - len(failed)} rows measured, {len(failed)} not, in {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


def run(plan: Plan, *, quick: bool) -> Row:
    """Measure one row in a directory of its own and within its time; raises BenchFailed."""
    with scratch() as directory, limited(plan.quick_seconds if quick else plan.full_seconds):
        return plan.measure(directory, **(plan.quick if quick else plan.full))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under two minutes; keeps nothing")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one or more of {', '.join(PLANS)}; all by default")
    found = parser.parse_args()
    unknown = [name for name in found.rows if name not in PLANS]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; rows are {', '.join(PLANS)}")
    return found


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main())
