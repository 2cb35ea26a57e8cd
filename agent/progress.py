"""From restic's status lines to what a person wants to know: percent, speed, time left."""

from collections import deque
from typing import Any

from agent import restic_output
from rm.shared.protocol import JobProgress

WINDOW_SECONDS = 10.0
AT_MOST_EVERY_SECONDS = 1.0


class ProgressMeter:
    """Turns status messages into progress, at most one a second; the first is never held back."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._samples: deque[tuple[float, int]] = deque()
        self._sent_at: float | None = None

    def update(self, status: dict[str, Any], *, at: str, monotonic: float) -> JobProgress | None:
        """The progress to send now, None when one was sent less than a second ago."""
        done = restic_output.number(status.get("bytes_done"))
        self._samples.append((monotonic, done))
        while len(self._samples) > 2 and self._samples[0][0] < monotonic - WINDOW_SECONDS:
            self._samples.popleft()
        if self._sent_at is not None and monotonic - self._sent_at < AT_MOST_EVERY_SECONDS:
            return None
        self._sent_at = monotonic
        total = max(restic_output.number(status.get("total_bytes")), done)
        speed = self._speed()
        percent = status.get("percent_done")
        files = status.get("current_files")
        known = isinstance(percent, int | float) and not isinstance(percent, bool) and 0 <= percent <= 1
        return JobProgress(
            job_id=self._job_id,
            at=at,
            percent=round(float(percent) * 100, 2) if known and percent is not None else None,
            files_done=restic_output.number(status.get("files_done")),
            files_total=restic_output.number(status.get("total_files")),
            bytes_done=done,
            bytes_total=total,
            bytes_per_second=speed,
            seconds_elapsed=float(restic_output.number(status.get("seconds_elapsed"))),
            seconds_left=round((total - done) / speed, 1) if speed else None,
            current_files=[str(name)[:4096] for name in files[:8]] if isinstance(files, list) else [],
            error_count=restic_output.number(status.get("error_count")),
        )

    def _speed(self) -> float | None:
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        if last_at - first_at < 0.5 or last < first:
            return None
        return round((last - first) / (last_at - first_at), 1)
