"""Counting tries against a limit, in memory and bounded; a restart forgets them."""

import threading
from collections import OrderedDict
from datetime import datetime

from rm.domain.limits import Limit, who_tries
from rm.errors import TooMany

_MAX_KEYS = 20_000


class Tries:
    """The recent tries of many callers, each under its own key; what is tried has its own room for keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, OrderedDict[str, tuple[datetime, ...]]] = {}
        self._unlisted: dict[str, int] = {}

    def check(self, what: str, who: str, limit: Limit, now: datetime) -> None:
        """Raises TooMany, with when to come back, if the limit is reached; counts nothing."""
        with self._lock:
            wait = limit.wait(self._at(what).get(who_tries(who), ()), now)
        if wait.total_seconds() > 0:
            seconds = int(wait.total_seconds()) + 1
            raise TooMany(
                f"Too many attempts. Try again in {_span(seconds)}.",
                retry_after_seconds=seconds,
            )

    def count(self, what: str, who: str, limit: Limit, now: datetime) -> int:
        """Counts one try; returns how many are left in this window."""
        with self._lock:
            at, key = self._at(what), who_tries(who)
            tries = (*limit.recent(at.pop(key, ()), now), now)[-limit.count :]
            at[key] = tries
            while len(at) > _MAX_KEYS:
                at.popitem(last=False)
        return max(0, limit.count - len(tries))

    def give_back(self, what: str, who: str) -> None:
        """Take the newest try back: it turned out to be no guess."""
        with self._lock:
            at, key = self._at(what), who_tries(who)
            left = at.get(key, ())[:-1]
            if left:
                at[key] = left
            else:
                at.pop(key, None)

    def forget(self, what: str, who: str) -> None:
        with self._lock:
            self._at(what).pop(who_tries(who), None)

    def take(self, what: str, who: str, limit: Limit, now: datetime) -> None:
        """Check and count in one."""
        self.check(what, who, limit, now)
        self.count(what, who, limit, now)

    def leave_out(self, what: str) -> int:
        """Count something that is not written down; how many such there are since the last `take_left_out`."""
        with self._lock:
            self._unlisted[what] = self._unlisted.get(what, 0) + 1
            return self._unlisted[what]

    def take_left_out(self, what: str) -> int:
        """How many were not written down since this was last asked."""
        with self._lock:
            return self._unlisted.pop(what, 0)

    def _at(self, what: str) -> OrderedDict[str, tuple[datetime, ...]]:
        return self._of.setdefault(what, OrderedDict())


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 90 else f"{-(-seconds // 60)} min"
