"""Counting tries against a limit, in memory and bounded; a restart forgets them."""

import threading
from collections import OrderedDict
from datetime import datetime

from rm.domain.limits import Limit
from rm.errors import TooMany

_MAX_KEYS = 20_000


class Tries:
    """The recent tries of many callers, each under its own key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: OrderedDict[tuple[str, str], tuple[datetime, ...]] = OrderedDict()

    def check(self, what: str, who: str, limit: Limit, now: datetime) -> None:
        """Raises TooMany, with when to come back, if the limit is reached; counts nothing."""
        with self._lock:
            wait = limit.wait(self._at.get((what, who), ()), now)
        if wait.total_seconds() > 0:
            seconds = int(wait.total_seconds()) + 1
            raise TooMany(
                f"Too many attempts. Try again in {_span(seconds)}.",
                retry_after_seconds=seconds,
            )

    def count(self, what: str, who: str, limit: Limit, now: datetime) -> int:
        """Counts one try; returns how many are left in this window."""
        with self._lock:
            tries = (*limit.recent(self._at.pop((what, who), ()), now), now)[-limit.count :]
            self._at[(what, who)] = tries
            while len(self._at) > _MAX_KEYS:
                self._at.popitem(last=False)
        return max(0, limit.count - len(tries))

    def give_back(self, what: str, who: str) -> None:
        """Take the newest try back: it turned out to be no guess."""
        with self._lock:
            left = self._at.get((what, who), ())[:-1]
            if left:
                self._at[(what, who)] = left
            else:
                self._at.pop((what, who), None)

    def forget(self, what: str, who: str) -> None:
        with self._lock:
            self._at.pop((what, who), None)

    def take(self, what: str, who: str, limit: Limit, now: datetime) -> None:
        """Check and count in one."""
        self.check(what, who, limit, now)
        self.count(what, who, limit, now)


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 90 else f"{-(-seconds // 60)} min"
