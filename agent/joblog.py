"""The numbered log of one job: batches of at most 20 lines or 250 ms into the outbox, never a secret."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent import clock
from agent.outbox import Outbox
from agent.redact import Redactor
from rm.shared.protocol import MAX_LOG_TEXT, JobLog, LogLine

BATCH_LINES = 20
BATCH_SECONDS = 0.25


@dataclass
class Place:
    """How far a job's output was read and reported; kept with each batch so that a restart repeats no line."""

    next_n: int = 1
    out: int = 0
    err: int = 0
    closed: bool = False
    pre: int = 0
    post: int = 0

    def to_text(self) -> str:
        # Without hooks it is what an agent of before can read.
        hooks = [self.pre, self.post] if self.pre or self.post else []
        return json.dumps([self.next_n, self.out, self.err, self.closed, *hooks])

    @classmethod
    def from_text(cls, text: str | None) -> "Place":
        try:
            next_n, out, err, closed, *hooks = json.loads(text or "")
            pre, post = hooks or (0, 0)
            return cls(int(next_n), int(out), int(err), bool(closed), int(pre), int(post))
        except (ValueError, TypeError):
            return cls()


class LogBook:
    """Writes a job's log; `place` is stored in the same transaction as the lines it covers."""

    def __init__(
        self, job_id: str, outbox: Outbox, redactor: Redactor, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.place = Place.from_text(outbox.bookmark(job_id))
        self._job_id = job_id
        self._outbox = outbox
        self._redactor = redactor
        self._monotonic = monotonic
        self._lines: list[LogLine] = []
        self._since = 0.0

    def write(self, stream: str, text: str) -> None:
        """Add one line."""
        shown = self._redactor.text(text)
        if len(shown) > MAX_LOG_TEXT:
            shown = shown[: MAX_LOG_TEXT - 1] + "…"
        if not self._lines:
            self._since = self._monotonic()
        self._lines.append(LogLine(n=self.place.next_n, at=clock.now(), stream=stream, text=shown))
        self.place.next_n += 1

    def is_due(self) -> bool:
        """Whether a batch is full or has waited for 250 ms."""
        waited = self._monotonic() - self._since
        return len(self._lines) >= BATCH_LINES or (bool(self._lines) and waited >= BATCH_SECONDS)

    def flush(self) -> None:
        """Put the waiting lines into the outbox together with the place they end at."""
        lines, self._lines = self._lines, []
        batches = [
            JobLog(job_id=self._job_id, lines=lines[i : i + BATCH_LINES]) for i in range(0, len(lines), BATCH_LINES)
        ]
        if batches:
            self._outbox.add_all(batches, bookmark=(self._job_id, self.place.to_text()))
