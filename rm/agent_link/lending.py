"""Threads that are lent to sessions while they have something to send, and go on to the next one afterwards."""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

# An idle thread ends after so long; a peer that does not read keeps its own until the connection is cut.
IDLE_SECONDS = 5.0

Errand = Callable[[], None]


class Lender:
    """Runs each errand at once in a thread of its own; errands never wait for each other."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
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
        threading.Thread(target=self._work, args=(errand,), name="agent-writer", daemon=True).start()

    def _work(self, errand: Errand | None) -> None:
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
            self._idle += 1
        try:
            return self._errands.get(timeout=self._idle_seconds)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
        # Somebody counted on this thread in the very moment in which it gave up.
        return self._errands.get()
