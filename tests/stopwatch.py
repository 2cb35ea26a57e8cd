"""How long something took, where the machine may be busy with other things."""

import time
from pathlib import Path

_PRESSURE = [Path("/proc/pressure") / name for name in ("cpu", "io", "memory")]


class Stopwatch:
    """Runs from the start, and stands still while something on this machine waits for a processor or for the disk.

    On a quiet machine, where nothing waits, it is a plain clock. What a program waits for by its own will, a lock or a
    limit of time or an answer, always counts.
    """

    def __init__(self) -> None:
        self._began = _now()

    @property
    def seconds(self) -> float:
        return max(0.0, _now() - self._began)


def _now() -> float:
    return time.monotonic() - sum(map(_waited, _PRESSURE))


def _waited(file: Path) -> float:
    """The seconds since the boot in which something had to wait for it; 0 where the kernel does not tell."""
    try:
        return int(file.read_text().splitlines()[0].rpartition("total=")[2]) / 1_000_000
    except (OSError, ValueError, IndexError):
        return 0.0
