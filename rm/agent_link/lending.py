"""Threads that are lent to sessions while they have something to send, and go on to the next one afterwards."""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

# So many wait for the next errand; more than that end when they are done. A thread that waited only for so long would
# cost a timer for each heartbeat that is answered.
MOST_IDLE = 16

Errand = Callable[[], None]


class Lender:
    """Runs each errand at once in a thread of its own; errands never wait for each other."""

    def __init__(self, *, most_idle: int = MOST_IDLE) -> None:
        self._most_idle = most_idle
        self._lock = threading.Lock()
        self._idle = 0
        self._errands: queue.SimpleQueue[Errand] = queue.SimpleQueue()

    def run(self, errand: Errand) -> None:
        """Have an errand done by an idle thread, or by a new one."""
        with self._lock:
            if self._idle:
                # This one is taken: the next errand must not count on it.
                self._idle -= 1
                self._errands.put(errand)
                return
        threading.Thread(target=self._work, args=([errand],), name="agent-writer", daemon=True).start()

    def _work(self, first: list[Errand]) -> None:
        # out of the list: a thread holds its arguments for as long as it lives
        errand: Errand | None = first.pop()
        while errand is not None:
            try:
                errand()
            except Exception:
                log.exception("a session's errand failed")
            # Nothing of a session is held while nobody needs it.
            errand = None
            errand = self._next()

    def _next(self) -> Errand | None:
        with self._lock:
            if self._idle >= self._most_idle:
                return None
            self._idle += 1
        return self._errands.get()
