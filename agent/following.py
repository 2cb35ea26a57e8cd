"""Follows a restic at work: its output into the log, its progress to the server, and its end when one is asked for."""

import threading
import time
from typing import Any

from agent import clock, diffing, locks, restic, restic_output, restore_job, restoring, runner, upkeep
from agent.job import Job, Left
from agent.progress import ProgressMeter

POLL_SECONDS = 0.2


class Follower:
    """Stays with one running restic until it has ended; raises Left when the agent stops first."""

    def __init__(self, job: Job, wake: threading.Event) -> None:
        self._job = job
        self._wake = wake
        self._meter = ProgressMeter(job.order.job_id)
        self._is_noted = False

    def follow(self, running: runner.Running) -> int | str | None:
        """Restic's exit code as the wrapper noted it, None when nobody noted one."""
        job = self._job
        place = job.book.place
        out = runner.LineTail(job.directory.out, place.out)
        err = runner.LineTail(job.directory.err, place.err)
        told_at: float | None = None
        while True:
            self._wake.clear()
            alive = running.is_alive()
            code = running.exit_code()
            self._note()
            self._take_in(out, err, ended=code is not None or not alive)
            if job.order.kind == restoring.KIND and alive:
                self._show(restore_job.watch(job, running))
            if code is not None or not alive:
                if self._is_noted:
                    job.around.ledger.ended(job.order.job_id)
                return code
            if job.around.stop.is_set():
                job.say("the agent stops; restic runs on, and the agent takes the job up again at its next start")
                job.book.flush()
                raise Left
            if job.must_end():
                told_at = self._press(running, told_at)
            self._wake.wait(POLL_SECONDS)

    def _note(self) -> None:
        """Write restic down in the ledger as soon as its pid is known: only then can a lock be proven to be its."""
        job = self._job
        if self._is_noted or job.order.kind not in (*locks.SHARED, *locks.EXCLUSIVE):
            return
        found, intent = job.directory.processes(), job.directory.intent()
        if found is None or intent is None:
            return
        self._is_noted = True
        job.around.ledger.note(
            locks.Entry(
                pid=found.restic,
                started=found.restic_started,
                boot_id=intent.boot_id,
                job_id=job.order.job_id,
                started_at=intent.launched_at or intent.started_at,
            )
        )

    def _take_in(self, out: runner.LineTail, err: runner.LineTail, *, ended: bool) -> None:
        """Bring what restic has written into the log, all of it once restic has ended."""
        book = self._job.book
        while True:
            out_lines, err_lines = out.read(to_the_end=ended), err.read(to_the_end=ended)
            status = self._take_lines(out_lines, err_lines)
            book.place.out, book.place.err = out.offset, err.offset
            if not ended:
                self._show(status)
            if book.is_due() or ended:
                book.flush()
            if not out_lines and not err_lines:
                return

    def _show(self, status: dict[str, Any] | None) -> None:
        """Show how far restic is, if that is known and was not shown a moment ago."""
        if status is None:
            return
        progress = self._meter.update(status, at=clock.now(), monotonic=time.monotonic())
        if progress is not None:
            self._job.around.show_progress(progress)

    def _take_lines(self, out_lines: list[bytes], err_lines: list[bytes]) -> dict[str, Any] | None:
        status = None
        kind = self._job.order.kind
        for stream, lines in (("out", out_lines), ("err", err_lines)):
            if stream == "out" and kind in ("snapshots", "forget"):
                continue
            for raw in lines:
                text = restic_output.readable(raw)
                message = restic_output.parse_line(text)
                if message is None and kind in upkeep.KINDS:
                    message = upkeep.progress(text)
                if message is None:
                    self._job.book.write(stream, text)
                elif message["message_type"] == "status":
                    status = restoring.status(message) if kind == restoring.KIND else message
                elif message["message_type"] == "summary" and kind == restoring.KIND:
                    continue
                elif message["message_type"] == "change" and kind == diffing.KIND:
                    self._take_change(message)
                elif message["message_type"] == "summary":
                    for line in restic_output.describe_summary(message):
                        self._job.book.write("out", line)
                else:
                    shown = restic_output.describe_message(message)
                    if shown is not None:
                        self._job.book.write("err", shown)
        return status

    def _take_change(self, message: dict[str, Any]) -> None:
        """A line for a change, until there are too many; the book's numbers survive a restart."""
        number = self._job.book.place.next_n
        if number <= diffing.MAX_LINES:
            self._job.book.write("out", diffing.line(message))
        elif number == diffing.MAX_LINES + 1:
            self._job.book.write("agent", diffing.CUT)

    def _press(self, running: runner.Running, told_at: float | None) -> float | None:
        """Ask restic to end, and end it by force when the grace is over."""
        grace = self._job.around.grace_seconds
        if told_at is None:
            if not running.signal(restic.CANCEL_SIGNAL):
                return None
            why = "cancel" if self._job.directory.cancel_asked() else "the time box is over"
            self._job.say(f"{why}: restic is asked to end ({restic.CANCEL_SIGNAL.name}) and has {grace:.0f} s")
            return time.monotonic()
        if not self._job.was_killed and time.monotonic() - told_at >= grace:
            self._job.was_killed = True
            self._job.say(
                f"restic did not end within {grace:.0f} s and was killed; its lock is removed once it is proven gone"
            )
            running.kill()
        return told_at
