"""`make soak`: a fleet at work for some minutes while everything goes wrong; exit code 1 when a bound broke."""

import argparse
import logging
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from bench import machine
from bench.stage import BENCH_PYTHON, BenchFailed, scratch
from soak import account
from soak.course import Course, Plan, prepare

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
PICTURE = ROOT / "docs" / "images" / "soak.svg"


def main() -> int:
    """The exit code: 0 when nothing was lost, nothing doubled, and every bound held."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    logging.disable(logging.WARNING)
    plan = Plan(minutes=arguments.minutes, agents=arguments.agents, browsers=arguments.browsers)
    bounds = account.Bounds(ack_p99_ms=arguments.ack_p99, page_p95_ms=arguments.page_p95)
    print(f"{plan.agents:,} hosts, {plan.browsers} tabs, {plan.minutes:g} minutes", flush=True)
    try:
        with scratch() as directory:
            problems = soak(directory, plan, bounds, arguments.results)
    except (KeyboardInterrupt, BenchFailed) as error:
        print(f"\nNot finished: {error or 'stopped'}")
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    if arguments.results == RESULTS:
        shutil.copy(RESULTS / "soak.svg", PICTURE)
    return 1 if problems else 0


def soak(directory: Path, plan: Plan, bounds: account.Bounds, results: Path) -> list[str]:
    """Play one, print and keep what it came to; returns the bounds that broke, as sentences."""
    server, fleet, releases, release = prepare(directory, plan)
    try:
        server.start()
        course = Course(plan, directory, server, fleet, release, releases)
        found = course.run()
    finally:
        server.stop()
    problems = account.broken(course, found, bounds)
    words = account.report(course, found, problems)
    content = account.as_json(course, found, problems, machine.describe(BENCH_PYTHON))
    print(f"\n{words}", flush=True)
    for file in account.keep(results, content, words):
        print(f"  {file}")
    return problems


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=15, help="how long; what is done to the fleet is spread over it"
    )
    parser.add_argument("--agents", type=int, default=1000, help="how many simulated hosts")
    parser.add_argument("--browsers", type=int, default=20, help="how many open tabs")
    parser.add_argument("--ack-p99", type=float, default=500, help="the bound of acknowledgements in calm spans, ms")
    parser.add_argument("--page-p95", type=float, default=1000, help="the bound of pages in calm spans, ms")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where soak.json, soak.md and soak.svg go")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
