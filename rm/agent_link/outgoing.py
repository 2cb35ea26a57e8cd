"""What waits to be sent to one agent: bounded, written by one thread, closed with a reason."""

import threading
from collections import deque
from collections.abc import Callable

MAX_WAITING = 512


class Outgoing:
    """A bounded queue of frames and errands; `take` is for the one writer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[str | Callable[[], None]] = deque()
        self._close: tuple[int, str] | None = None

    def put(self, item: str | Callable[[], None]) -> bool:
        """Queue a frame or an errand; False when it is full or closing, and then nothing is queued."""
        with self._changed:
            if self._close is not None or len(self._frames) >= MAX_WAITING:
                return False
            self._frames.append(item)
            self._changed.notify()
            return True

    def close(self, code: int, reason: str, *, after_waiting: bool = False) -> None:
        """End with this close code, dropping what waits unless told otherwise; the first reason counts."""
        with self._changed:
            if self._close is None:
                self._close = (code, reason)
                if not after_waiting:
                    self._frames.clear()
            self._changed.notify_all()

    def take(self) -> str | Callable[[], None] | tuple[int, str]:
        """The next frame or errand, or how to close; waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._close is not None)
            return self._frames.popleft() if self._frames else (self._close or (1000, ""))

    @property
    def closing(self) -> tuple[int, str] | None:
        return self._close
