"""The machine that is measured on, and what processes use of it."""

import importlib.metadata
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from demo.processes import children

TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = ("gunicorn", "gevent", "flask-sock", "simple-websocket", "peewee", "Flask", "playwright")


def describe(bench_python: Path) -> dict[str, str]:
    """Cores, memory and versions; no date, no name of a machine."""
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])  # type: ignore[index]
    found = {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1024**2:.0f} GiB",
        "kernel": os.uname().release.split("-")[0],
        "python": ".".join(map(str, sys.version_info[:3])),
        "sqlite": sqlite3.sqlite_version,
    }
    found |= {name.lower(): importlib.metadata.version(name) for name in PACKAGES}
    ask = "import importlib.metadata as m; print(m.version('websockets'), m.version('uvloop'))"
    websockets, uvloop = subprocess.run(
        [bench_python, "-c", ask], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    found |= {"websockets": websockets, "uvloop": uvloop}
    for program, arguments in (("restic", ["version"]), ("chromium", ["--version"])):
        path = shutil.which(program)
        if path:
            said = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=30).stdout
            version = re.search(r"\d+(\.\d+)+", said)
            found[program] = version[0] if version else "unknown"
    return found


def tree(pid: int) -> list[int]:
    """A process and all that descends from it."""
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def pss_mb(pids: Iterable[int]) -> float:
    """The memory of these processes: what they share with others counts by its share. MB are 10^6 bytes."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])  # type: ignore[index]
    return total * 1024 / 1e6


def cpu_seconds(pids: Iterable[int]) -> float:
    """The processor time of these processes so far; to the nanosecond where the kernel keeps it so."""
    total = 0.0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            except FileNotFoundError:
                continue
    return total


class Surroundings:
    """How much of the machine others used while something ran here."""

    def __init__(self) -> None:
        self._start = self._read()

    def share_of_others(self) -> float:
        """The share of all cores that processes other than ours were busy with; all of ours must have ended."""
        (busy, total, ours), (busy_0, total_0, ours_0) = self._read(), self._start
        return max(0.0, (busy - busy_0 - (ours - ours_0)) / max(total - total_0, 0.01))

    def _read(self) -> tuple[float, float, float]:
        fields = [int(part) / TICKS for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        idle = fields[3] + fields[4]
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(fields) - idle, sum(fields), sum(use.ru_utime + use.ru_stime for use in usage)
