"""Proof 2: the real agent and the real guard are killed, or their disk refuses, at each of their calls on what matters.

    python -m tests.sweep.kill_sweep [--sample N [--seed N]]

After each the live program must be whole, and the next start must reach a terminal state. Prints one line.
"""

import argparse
import logging
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simple_websocket import ConnectionClosed

from rm.shared.protocol import CommandUpdate, Message
from tests.agent.conftest import until
from tests.agent.guarded import Guarded, sha256
from tests.agent.update.machine import Machine, UpdateServer, Workshop
from tests.signing import SignedRelease
from tests.sweep import faults
from tests.sweep.faults import Point

TIMERS = {"revert_seconds": 3, "unreachable_seconds": 4, "soak_seconds": 0, "drain_seconds": 5, "download_seconds": 10}
END_SECONDS = 60.0
AT_ONCE = 2
WRAPPER = """#!/bin/sh
# The start whose number is $2 meets the fault; all others run as they are.
root=$1 which=$2 words=$3
shift 3
count=$(($(cat "$root/starts" 2>/dev/null || echo 0) + 1))
echo $count > "$root/starts"
[ "$count" = "$which" ] && exec $words "$@"
exec "$@"
"""
_UPDATE = "state/update"
PATHS = [
    "bin",
    *(f"bin/rm-agent{suffix}" for suffix in ("", ".part", ".new", ".old", ".old.new")),
    _UPDATE,
    *(f"{_UPDATE}/{name}" for name in ("trial", "hello", "committed", "limit_s", "ask_revert")),
    *(f"{_UPDATE}/{name}" for name in ("update.json", "floor.json", "trust.json")),
    *(f"{_UPDATE}/.{name}.new" for name in ("trial", "committed", "update.json", "floor.json", "trust.json")),
]
GUARD_PATHS = [
    *(f"bin/rm-agent{suffix}" for suffix in ("", ".old", ".back")),
    *(f"{_UPDATE}/{name}" for name in ("trial", "ask_revert", "reverting", "reverted", "bad")),
    f"{_UPDATE}/bad/{sha256(b'later')}",
]
GUARD_NAMES = [".check.new", "trial", "ask_revert", "reverting", "reverted"]


class Sweep:
    """Runs points; `bricked` names each that did not end well."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.workshop = Workshop(place)
        self.bricked: list[str] = []
        self.met = 0
        self._release = self.workshop.release(2)
        self._before = self.workshop.release(1).artifact_sha256
        self._lock = threading.Lock()
        self._count = 0

    # ---- the agent: before the swap, and on trial ------------------------------------------------------

    def points(self) -> list[Point]:
        """All there are, found by running once without a fault."""
        found = [*self._guard_points()]
        for part, start in (("the agent that updates", 1), ("the agent on trial", 2)):
            root = self._root()
            words = faults.tracing(root, PATHS, list(faults.CALLS))
            problem = self._update(root, start, words)
            if problem:
                raise SystemExit(f"without any fault: {problem}")
            trace = (root / "strace").read_text(errors="replace")
            found += faults.points(part, trace, PATHS, root, at_most=8)
            shutil.rmtree(root)
        return found

    def run(self, points: list[Point]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for point, problem in zip(points, pool.map(self._run, points), strict=True):
                if problem:
                    self.bricked.append(f"{point}: {problem}")

    def _run(self, point: Point) -> str:
        root = self._root()
        try:
            if point.part == faults.GUARD:
                problem = self._check(root, point)
            else:
                start = 1 if point.part == "the agent that updates" else 2
                problem = self._update(root, start, point.strace(root))
        except AssertionError as error:
            problem = f"no end was reached: {error}"
        trace = root / "strace"
        with self._lock:
            self.met += trace.exists() and faults.was_met(trace.read_text(errors="replace"))
        if not problem:
            shutil.rmtree(root)
        return problem

    def _root(self) -> Path:
        with self._lock:
            self._count += 1
            return self.place / f"host-{self._count}"

    def _update(self, root: Path, start: int, words: list[str]) -> str:
        """Order an update of a host whose agent meets the fault in that start; what is wrong at the end."""
        server = UpdateServer()
        release = server.offer(self._release)
        machine = Machine(root, server, self.workshop, tick="0.5").make()
        wrapper = root / "wrapper"
        wrapper.write_text(WRAPPER)
        machine.wrapper = ("sh", str(wrapper), str(root), str(start), " ".join(words))
        order = machine.order(release, timers=TIMERS)
        stop = threading.Event()
        ordering = threading.Thread(target=_order_until_answered, args=(server, order, stop), daemon=True)
        try:
            machine.start()
            ordering.start()
            server.wait(lambda s: s.results(order.attempt_id), END_SECONDS)
            until(machine.is_over, END_SECONDS)
            until(lambda: _runs(server, machine.live()), END_SECONDS)
            return self._whole(machine, release, server.results(order.attempt_id)[-1])
        finally:
            stop.set()
            machine.close()
            server.close()

    def _whole(self, machine: Machine, release: SignedRelease, result: Message) -> str:
        live = machine.live()
        wanted = release.artifact_sha256 if result.payload.outcome == "committed" else self._before
        if live not in (self._before, release.artifact_sha256):
            return "the live program is torn"
        if live != wanted:
            return f"{result.payload.outcome} ({result.payload.reason}) was told, and the other release runs"
        return ""

    # ---- the guard, putting a release back -------------------------------------------------------------

    def _guard_points(self) -> list[Point]:
        root = self._root()
        host = self._on_trial(root)
        paths = sorted({*GUARD_PATHS, _UPDATE, f"{_UPDATE}/.check.new"})
        calls = faults.tracing(root, [], list(faults.CALLS))
        subprocess.run([*calls, *host.command("check")], check=True, capture_output=True, cwd=host.update)
        until(lambda: (root / "strace").exists())
        trace = _absolute((root / "strace").read_text(errors="replace"), root)
        found = faults.points(faults.GUARD, trace, paths, root, at_most=12)
        shutil.rmtree(root)
        return found

    def _on_trial(self, root: Path) -> Guarded:
        host = Guarded(root, "sh", earlier=b"earlier").make()
        host.arm(later=b"later")
        host.swap(b"later")
        host.tell("ask_revert", "release")
        return host

    def _check(self, root: Path, point: Point) -> str:
        host = self._on_trial(root)
        subprocess.run([*point.strace(root), *host.command("check")], capture_output=True, check=False, timeout=60)
        if host.program.read_bytes() not in (b"earlier", b"later"):
            return "the live program is torn"
        host.check()
        if host.program.read_bytes() != b"earlier":
            return "it was not put back at the next start"
        return "" if not (host.update / "trial").exists() else "the trial goes on"


def _absolute(trace: str, root: Path) -> str:
    """The guard works in its directory: its relative names as whole ones."""
    update = root / _UPDATE
    for name in (*GUARD_NAMES, "bad", f"bad/{sha256(b'later')}"):
        trace = trace.replace(f'"{name}"', f'"{update / name}"')
    return trace


def _order_until_answered(server: UpdateServer, order: CommandUpdate, stop: threading.Event) -> None:
    """As the real server does: an open attempt is ordered again at each hello."""
    seen = 0
    while not stop.wait(0.1):
        if len(server.all("hello")) > seen and not server.results(order.attempt_id):
            seen = len(server.all("hello"))
            try:
                server.connected(seen).send(order)
            except (ConnectionClosed, OSError, IndexError):
                # That connection is gone already; the next hello brings another.
                continue


def _runs(server: UpdateServer, live: str) -> bool:
    """Whether the last that said hello is what lies on the disk."""
    hellos = server.all("hello")
    return bool(hellos) and hellos[-1].payload.running_sha256 == live


def main(arguments: list[str] | None = None, *, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="kill_sweep", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="only so many points, the same ones each time")
    parser.add_argument("--seed", type=int, default=4, help="which sample")
    options = parser.parse_args(arguments)
    for name in ("werkzeug", "agent"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="kill-sweep-") as place:
        sweep = Sweep(Path(place))
        points = sweep.points()
        if options.sample and options.sample < len(points):
            points = random.Random(options.seed).sample(points, options.sample)
        sweep.run(points)
        for text in sweep.bricked:
            sys.stderr.write(f"{text}\n")
    say(f"kill sweep: {sweep.met} points, {len(sweep.bricked)} bricked")
    return 1 if sweep.bricked else 0


if __name__ == "__main__":
    sys.exit(main())
