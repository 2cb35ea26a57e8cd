"""Waits until nobody else's lock stands in a job's way; nothing of the job has been started yet."""

import threading
import time
from collections.abc import Callable

from agent import clock, locks, unlocking
from agent.job import Job, Left, Verdict
from agent.locks import Lock
from agent.repository import Repository
from rm.shared.protocol import JobProgress

DEFAULT_SECONDS = 600
BACKUP_SECONDS = 7200
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
GLANCE_SECONDS = 2.0
DEAR_PAUSE_SECONDS = 5.0
RENEWED_MINUTES = 30


class LockWait:
    """One job's patience with the locks of others, over all its tries."""

    def __init__(self, job: Job, wake: threading.Event, *, waits: Callable[[], None]) -> None:
        self._job = job
        self._wake = wake
        self._waits = waits
        self._waited: float | None = None
        self._ids: frozenset[str] = frozenset()

    def wait(self, repository: Repository) -> Verdict | None:
        """None when the way is free, or cannot be seen; else why the job ends here. Raises Left."""
        kind = self._job.order.kind
        if kind not in (*locks.SHARED, *locks.EXCLUSIVE):
            return None
        if self._waited is None:
            self._waited = self._job.elapsed()
        began, before, pause = time.monotonic(), self._waited, FIRST_PAUSE_SECONDS
        told = ""
        while True:
            self._wake.clear()
            if self._job.around.stop.is_set():
                self._job.book.flush()
                raise Left
            if self._job.must_end():
                return self._job.ended_early("before it began")
            in_the_way = self._look(repository)
            self._waited = before + time.monotonic() - began
            if not in_the_way:
                if told:
                    self._say(f"the way is free after {time.monotonic() - began:.0f} s")
                    # A check or prune tells no progress of its own that would take the place of the waiting.
                    self._job.around.show_progress(JobProgress(job_id=self._job.order.job_id, at=clock.now()))
                return None
            if self._waited >= self._limit():
                return self._gave_up(in_the_way)
            words = locks.names(in_the_way)
            if not told:
                self._waits()
            if words != told:
                self._say(f"waits for {words}")
                told = words
            self._tell(words)
            self._pause(repository, min(pause, max(0.05, self._limit() - self._waited)))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _pause(self, repository: Repository, seconds: float) -> None:
        """Until a lock came or went, or somebody rings; at most for so long, for less where a glance takes a restic."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if repository.lock_ids() is None:
                self._wake.wait(min(left, DEAR_PAUSE_SECONDS))
                return
            if self._wake.wait(min(left, GLANCE_SECONDS)) or repository.lock_ids() != self._ids:
                return

    def _look(self, repository: Repository) -> list[Lock]:
        """The locks of others that stand in the way; the proven dead are removed first."""
        swept = unlocking.sweep(repository, self._job.around.ledger, say=self._job.say)
        if swept is None:
            return []
        self._job.proofs += swept.proofs
        self._ids = frozenset(lock.id for lock in swept.left)
        return [lock for lock in swept.left if locks.blocks(self._job.order.kind, lock)]

    def _limit(self) -> float:
        order = self._job.order
        if order.kind == "backup":
            return order.group.lock_wait_seconds if order.group else BACKUP_SECONDS
        return order.time_box_seconds or DEFAULT_SECONDS

    def _gave_up(self, found: list[Lock]) -> Verdict:
        now = locks.now_seconds()
        text = f"The repository is locked by {locks.names(found)}"
        text += f"; the job waited {self._waited:.0f} s for it. Nothing was done."
        if all(lock.at and now - lock.at > RENEWED_MINUTES * 60 for lock in found):
            text += (
                f" It was not renewed for {RENEWED_MINUTES} minutes, so its restic is probably gone: order “Remove"
                " stale locks” on the repository's page."
            )
        return Verdict("failed", "locked", text)

    def _say(self, text: str) -> None:
        self._job.say(text)
        self._job.book.flush()

    def _tell(self, words: str) -> None:
        self._job.around.show_progress(
            JobProgress(job_id=self._job.order.job_id, at=clock.now(), phase="waiting", waits_for=words[:500])
        )
