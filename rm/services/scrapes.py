"""The readings of /metrics: one at a time, shared by who asks in the same moment, and what is known of the last."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

FRESH_SECONDS = 5.0
"""So old may figures be that a scrape gets; two scrapers of the same server then cost no more than one."""


@dataclass(frozen=True)
class Reading:
    """Figures as they are sent, in parts."""

    parts: tuple[bytes, ...]
    begun: float
    seconds: float

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class Scrape:
    """Who came, when, and what they got; `refusal` is why they got nothing."""

    at: datetime
    address: str
    size: int = 0
    seconds: float = 0.0
    refusal: str = ""


class Scrapes:
    """In memory only: a restart forgets it. `fresh_seconds` 0 has every scrape read anew."""

    def __init__(self) -> None:
        self.fresh_seconds = FRESH_SECONDS
        self.last: Scrape | None = None
        self.last_refused: Scrape | None = None
        self._turn = threading.Lock()
        self._kept: dict[str, Reading] = {}

    def read(self, form: str, render: Callable[[], list[bytes]]) -> Reading:
        """The figures in this form; rendered now unless somebody had them rendered within `fresh_seconds`."""
        with self._turn:
            begun = time.monotonic()
            kept = self._kept.get(form)
            if kept is not None and begun - kept.begun < self.fresh_seconds:
                return kept
            # Those of other forms are megabytes too, and soon too old.
            self._kept.clear()
            parts = tuple(render())
            self._kept[form] = Reading(parts, begun, time.monotonic() - begun)
            return self._kept[form]
