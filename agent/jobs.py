"""The jobs of this host: accepted durably, run one after the other, each ended truly and once."""

import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Callable

from agent import clock, restoring
from agent.execution import Execution
from agent.job import Left, Surroundings, Verdict
from agent.job_directory import JobDirectory
from agent.journal import Journal
from agent.platform import linux
from agent.schedules import orders
from agent.schedules.view import ENDING, RUNNING, WAITING
from rm.shared.protocol import CommandRun, JobFinished

log = logging.getLogger("agent.jobs")


class Jobs:
    """One worker thread, the orders that wait for it, and what is known of those that ended."""

    def __init__(self, *, journal: Journal, around: Surroundings, changed: Callable[[], None] = lambda: None) -> None:
        self._journal = journal
        self._around = around
        self._outbox = around.outbox
        self._changed = changed
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._waiting: deque[str] = deque()
        self._orders: dict[str, CommandRun] = {}
        self._running: str | None = None
        self._execution: Execution | None = None
        self._not_reported: set[str] = set()
        self._is_held = False
        self.scheduled: Callable[[str], CommandRun | None] = lambda job_id: None
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    @property
    def running(self) -> str | None:
        """The job that runs now."""
        return self._running

    def hold(self) -> None:
        """Start no job from now on; what restic does already goes on, and what arrives waits."""
        with self._lock:
            self._is_held = True

    def release(self) -> None:
        """Start what waits."""
        with self._lock:
            self._is_held = False
            self._arrived.notify_all()

    def busy_with(self) -> str | None:
        """The job that runs, or whose restic an agent before this one has started; held jobs do not count."""
        with self._lock:
            return self._running or next((job for job in self._waiting if self._journal.of(job).is_under_way()), None)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until a job may have ended, at most for so long."""
        with self._lock:
            if self.busy_with():
                self._arrived.wait(seconds)

    def result_of(self, job_id: str) -> JobFinished | None:
        """How the job ended, None while it has not or when nothing is known of it."""
        with self._lock:
            return self._journal.result(job_id)

    def stage_of(self, job_id: str) -> str:
        """Whether the job waits, runs, or is about to end since its restic died with the host; else empty."""
        with self._lock:
            if job_id != self._running and job_id not in self._waiting:
                return ""
            directory = self._journal.of(job_id)
            if not directory.is_under_way():
                return RUNNING if job_id == self._running else WAITING
            begun = directory.intent() or directory.begun()
            return RUNNING if begun is not None and begun.boot_id == linux.boot_id() else ENDING

    def backups(self) -> dict[str, list[str]]:
        """The backups that wait or run, by source group."""
        found: dict[str, list[str]] = {}
        with self._lock:
            for job_id in filter(None, (self._running, *self._waiting)):
                order = self._orders.get(job_id)
                if order is not None and order.kind == "backup":
                    found.setdefault(order.source_group, []).append(job_id)
        return found

    def waits_for(self, job_id: str) -> str:
        """In words, what a waiting job waits for; empty for one that does not wait."""
        with self._lock:
            if job_id not in self._waiting:
                return ""
            if self._is_held:
                return "waits until the agent has been updated"
            before = self._running or self._waiting[0]
            order = self._orders.get(before)
            if before == job_id or order is None:
                return "waits for its turn on this host"
            of = f" of {order.source_group}" if order.source_group else ""
            return f"waits for the end of the {order.kind}{of} (job {before})"

    def start(self) -> None:
        """Take up what an agent before this one has left, then work."""
        self._recover()
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Let go of the running job without ending it."""
        self._around.stop.set()
        with self._lock:
            if self._execution:
                self._execution.wake()
            self._arrived.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def accept(self, order: CommandRun) -> None:
        """Run the job unless it is known already; a known one is only reported again."""
        with self._lock:
            known = self._journal.result(order.job_id)
            if known:
                self._repeat(known)
            elif order.job_id == self._running:
                if self._execution:
                    self._execution.report_started()
            elif order.job_id in self._waiting:
                return
            elif order.already_started:
                self._end(
                    JobFinished(
                        job_id=order.job_id,
                        outcome="lost",
                        reason="unknown_to_agent",
                        message="The agent knows nothing of this job: its state was lost. Run the job again.",
                        finished_at=clock.now(),
                    )
                )
            else:
                self._take(order)

    def cancel(self, job_id: str) -> None:
        """End the job, or make sure that it never starts; one that has ended keeps its outcome."""
        with self._lock:
            known = self._journal.result(job_id)
            if known:
                self._repeat(known)
            elif job_id == self._running or (job_id in self._waiting and self._journal.of(job_id).is_under_way()):
                directory = self._journal.of(job_id)
                order = self._orders.get(job_id)
                # What a restore brought is checked after its restic has ended, and that may take long.
                if directory.exit_code() is None or (order is not None and order.kind == restoring.KIND):
                    try:
                        directory.ask_cancel()
                    except OSError as error:
                        log.error("The cancel of job %s cannot be written: %s", job_id, error)
                if self._execution and job_id == self._running:
                    self._execution.wake()
            else:
                if job_id in self._waiting:
                    self._waiting.remove(job_id)
                self._end(
                    JobFinished(
                        job_id=job_id,
                        outcome="cancelled",
                        reason="cancelled",
                        message="The job was cancelled before it began.",
                        finished_at=clock.now(),
                    ),
                    self._orders.get(job_id),
                )

    def retry(self) -> None:
        """Bring to disk what a full disk refused."""
        with self._lock:
            self._journal.retry()
            self._mark_reported()

    def _take(self, order: CommandRun) -> None:
        directory = self._journal.of(order.job_id)
        try:
            directory.accept(order, at=clock.now())
        except OSError as error:
            directory.remove()
            self._end(
                JobFinished(
                    job_id=order.job_id,
                    outcome="failed",
                    reason="disk_full",
                    message=f"The agent cannot write down the job ({error.strerror}). Free some space on the host.",
                    finished_at=clock.now(),
                ),
                order,
            )
            return
        self._orders[order.job_id] = order
        self._waiting.append(order.job_id)
        self._arrived.notify_all()

    def _repeat(self, result: JobFinished) -> None:
        if not self._outbox.has(kind="job.finished", job_id=result.job_id):
            self._outbox.add(result)

    def _end(self, result: JobFinished, order: CommandRun | None = None) -> None:
        """Record the one result, then report it; in this order a crash between the two repeats the report only."""
        result = dataclasses.replace(result, **orders.facts(order))
        self._orders.pop(result.job_id, None)
        self._journal.finish(result)
        self._outbox.add(result)
        self._outbox.forget_bookmark(result.job_id)
        self._not_reported.add(result.job_id)
        self._mark_reported()
        self._journal.prune()

    def _mark_reported(self) -> None:
        if not self._outbox.is_saved():
            return
        for job_id in list(self._not_reported):
            if job_id not in self._journal.unsaved:
                self._journal.of(job_id).reported()
                self._not_reported.discard(job_id)

    def _recover(self) -> None:
        with self._lock:
            for directory in self._journal.directories():
                self._recover_one(directory)

    def _recover_one(self, directory: JobDirectory) -> None:
        result = directory.result()
        if result is not None:
            if not directory.is_reported() or self._outbox.was_reset:
                self._repeat(result)
                self._not_reported.add(result.job_id)
                self._mark_reported()
        elif (order := directory.order()) is not None:
            self._orders[directory.job_id] = order
            self._waiting.append(directory.job_id)
        elif (directory.path / "order.json").exists():
            self._end(
                JobFinished(
                    job_id=directory.job_id,
                    outcome="failed",
                    reason="interrupted",
                    message="The agent's record of this job was damaged. Run the job again.",
                    finished_at=clock.now(),
                ),
                self.scheduled(directory.job_id),
            )
        else:
            directory.remove()

    def _work(self) -> None:
        while True:
            with self._arrived:
                while (next_one := self._next()) is None and not self._around.stop.is_set():
                    self._arrived.wait()
                if self._around.stop.is_set() or next_one is None:
                    return
                job_id = next_one
                self._waiting.remove(job_id)
                directory = self._journal.of(job_id)
                order = directory.order()
                if order is None:
                    continue
                self._running = job_id
                self._execution = Execution(self._around, directory, order)
            self._changed()
            self._run(self._execution, job_id)
            self._changed()

    def _next(self) -> str | None:
        """What to start now: while held only what has been started before."""
        if not self._is_held:
            return self._waiting[0] if self._waiting else None
        return next((job for job in self._waiting if self._journal.of(job).is_under_way()), None)

    def _run(self, execution: Execution, job_id: str) -> None:
        result: JobFinished | None
        try:
            result = execution.run()
        except Left:
            result = None
        except Exception as error:
            log.exception("Job %s failed inside the agent", job_id)
            result = _give_up(execution, job_id, error)
        with self._lock:
            if result is not None:
                self._end(result, self._orders.get(job_id))
            self._running = None
            self._execution = None
            self._arrived.notify_all()
        if result is not None:
            execution.afterwards(result)


def _give_up(execution: Execution, job_id: str, error: Exception) -> JobFinished | None:
    """The end of a job on which the agent itself failed; None when the agent stops before its hook has ended."""
    text = f"The agent failed on this job ({type(error).__name__}); its own log says more."
    verdict = Verdict("failed", "agent_error", text)
    try:
        execution.abandon()
        verdict = execution.tidy_up(verdict)
    except Left:
        return None
    except Exception:
        log.exception("Tidying up after job %s failed too", job_id)
    return JobFinished(
        job_id=job_id, outcome=verdict.outcome, reason=verdict.reason, message=verdict.message, finished_at=clock.now()
    )
