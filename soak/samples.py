"""What is looked at every few seconds, and what follows from it: slopes with their errors, quantiles, verdicts."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import quantile

WARM_UP_SECONDS = 60.0
# After a restart or an update began so long is not judged by delays: everybody dials anew.
UNSETTLED_SECONDS = 45.0


@dataclass
class Sample:
    """One look. Delays are in ms and may be missing: nothing was answered in that span."""

    at: float
    life: int
    pss_mb: float | None = None
    files: int | None = None
    wal_mb: float | None = None
    threads: int | None = None
    acks: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The sample with its delays as quantiles."""
        kept = {key: value for key, value in asdict(self).items() if key not in ("acks", "pages", "lags")}
        kept |= {"acks": len(self.acks), "pages": len(self.pages)}
        for name, values, shares in (
            ("ack", self.acks, (0.5, 0.99)), ("page", self.pages, (0.95,)), ("lag", self.lags, (0.95,))
        ):  # fmt: skip
            for share in shares:
                kept[f"{name}_p{share * 100:.0f}"] = round(quantile(values, share), 2) if values else None
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in kept.items()}


@dataclass(frozen=True)
class Slope:
    """The least-squares slope of some samples an hour, and its standard error."""

    an_hour: float
    error: float
    minutes: float


def look(pids: Sequence[int], data_dir: Path) -> dict[str, Any]:
    """Memory of master and worker, and the worker's files and threads; empty while the server is away."""
    try:
        found = {
            "pss_mb": machine.pss_mb(pids),
            "files": max(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            "threads": sum(_threads(pid) for pid in pids),
        }
    except (OSError, TypeError, ValueError):
        return {}
    wal = data_dir / "restic-manager.db-wal"
    return found | {"wal_mb": wal.stat().st_size / 1e6 if wal.exists() else 0.0}


def _threads(pid: int) -> int:
    return int(re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])  # type: ignore[index]


def slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    """Of (seconds, value) points; None for fewer than three."""
    if len(points) < 3:
        return None
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return None
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    error = math.sqrt(left / (n - 2) / spread)
    return Slope(rise * 3600, error * 3600, (points[-1][0] - points[0][0]) / 60)


def slopes(samples: Sequence[Sample], name: str, *, warm_up: float = WARM_UP_SECONDS) -> dict[int, Slope]:
    """For each life of the server process: how a value moved after its warm-up."""
    found = {}
    for life in sorted({sample.life for sample in samples}):
        of_life = [(s.at, getattr(s, name)) for s in samples if s.life == life and getattr(s, name) is not None]
        settled = [(at, value) for at, value in of_life if at - of_life[0][0] >= warm_up]
        one = slope(settled)
        if one is not None:
            found[life] = one
    return found


def is_calm(at: float, events: Sequence[tuple[float, str]]) -> bool:
    """Whether nothing was done to the fleet shortly before."""
    return not any(0 <= at - begun < UNSETTLED_SECONDS for begun, _ in events)
