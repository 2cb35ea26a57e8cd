"""What waits to be sent to one agent: bounded, written by one thread at a time, closed with a reason."""

import threading
from collections.abc import Callable

MAX_WAITING = 512

Item = str | Callable[[], None] | tuple[int, str]


class Outgoing:
    """A bounded queue of frames and errands.

    Whoever is told so by `begin` is the one writer: it takes until there is nothing more, and begins again later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A list: an empty deque takes ten times the memory, and there is one for each connection.
        self._frames: list[str | Callable[[], None]] = []
        self._close: tuple[int, str] | None = None
        self._is_being_written = False
        self._is_over = False
        self._over: threading.Event | None = None

    def put(self, item: str | Callable[[], None]) -> bool:
        """Queue a frame or an errand; False when it is full or closing, and then nothing is queued."""
        with self._lock:
            if self._close is not None or len(self._frames) >= MAX_WAITING:
                return False
            self._frames.append(item)
            return True

    def close(self, code: int, reason: str, *, after_waiting: bool = False) -> None:
        """End with this close code, dropping what waits unless told otherwise; the first reason counts."""
        with self._lock:
            if self._close is None:
                self._close = (code, reason)
                if not after_waiting:
                    self._frames.clear()

    def begin(self) -> bool:
        """Whether the caller has to see that somebody writes now: there is something, and nobody is at it."""
        with self._lock:
            if self._is_being_written or self._is_over or not (self._frames or self._close):
                return False
            self._is_being_written = True
            return True

    def take(self) -> Item | None:
        """For the writer: the next frame or errand, or how to close; None when it is done for now."""
        with self._lock:
            if self._frames:
                return self._frames.pop(0)
            if self._close is None:
                self._is_being_written = False
            return self._close

    def end(self) -> None:
        """For the writer: nothing is written any more."""
        with self._lock:
            self._is_over = True
            if self._over is not None:
                self._over.set()

    def wait_ended(self, seconds: float) -> None:
        """Wait until the last has been written, but not longer than this."""
        with self._lock:
            if self._is_over:
                return
            # Made only now: most of a connection's life nobody waits for its end.
            self._over = self._over or threading.Event()
        self._over.wait(seconds)

    @property
    def closing(self) -> tuple[int, str] | None:
        return self._close
