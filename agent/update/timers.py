"""How long each part of an attempt may take; the order may say otherwise, within bounds."""

import math
from dataclasses import dataclass
from typing import Any

PREFLIGHT_SECONDS = 20.0
SELFTEST_SECONDS = 20.0
ANSWER_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
RETRY_SECONDS = (5.0, 20.0, 60.0)
RED_SECONDS = 20.0
COMMIT_FACTOR = 10
_BOUNDS = {
    "revert_seconds": (1, 3600),
    "unreachable_seconds": (1, 86_400),
    "soak_seconds": (0, 604_800),
    "drain_seconds": (0, 604_800),
    "download_seconds": (1, 604_800),
}


@dataclass(frozen=True)
class Timers:
    """Whole seconds, because the guard reads no others."""

    revert_seconds: int = 60
    unreachable_seconds: int = 900
    soak_seconds: int = 60
    drain_seconds: int = 1800
    download_seconds: int = 1800

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Timers":
        """What an order says; what is missing or no number is as usual."""
        found = {}
        for name, (low, high) in _BOUNDS.items():
            value = raw.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                found[name] = min(max(math.ceil(value), low), high)
        return cls(**found)

    @property
    def commit_seconds(self) -> int:
        """From arming to the commit; longer only where the soak needs it."""
        return max(COMMIT_FACTOR * self.revert_seconds, self.soak_seconds + 2 * self.revert_seconds)

    @property
    def red_seconds(self) -> float:
        """How long a new fault must last to be one."""
        return min(RED_SECONDS, max(1.0, self.soak_seconds / 3))
