"""One job from its order to its one true outcome, in this life of the agent or the next."""

import logging
import os
import shlex
import threading
from pathlib import Path

from agent import (
    clock,
    diffing,
    hook_run,
    identity,
    judgement,
    locks,
    measuring,
    output,
    restic,
    restore_job,
    restoring,
    runner,
)
from agent.contents import NotReadable
from agent.following import Follower
from agent.hooks import PHASES
from agent.job import Job, Surroundings, Verdict
from agent.job_directory import DISK_FULL, Intent, JobDirectory
from agent.job_hooks import JobHooks
from agent.platform import linux
from agent.repository import Repository
from agent.runner import Running
from agent.schedules import orders
from agent.waiting import LockWait
from rm.shared.protocol import CommandRun, JobFinished, JobStarted

log = logging.getLogger("agent.execution")

CLAIM_SECONDS = 5.0
TRIES = 10
LOCKED_CODE = 11


class Execution:
    """Runs one accepted order, or takes up one that an agent before this one had started."""

    def __init__(self, around: Surroundings, directory: JobDirectory, order: CommandRun) -> None:
        self._around = around
        self._directory = directory
        self._order = order
        self._job = Job(around, directory, order)
        self._wake = threading.Event()
        self._lock_wait = LockWait(self._job, self._wake, waits=self.report_started)
        self._hooks = JobHooks(self._job, self._wake, starts=self.report_started)

    def wake(self) -> None:
        """Look at once: a cancel was asked, or the agent stops."""
        self._wake.set()

    def abandon(self) -> None:
        """The agent itself failed on this job: nothing of it must run beside the next one."""
        self._directory.claim()
        running = Running(self._directory, child=None, boot_id=linux.boot_id())
        if running.signal(restic.CANCEL_SIGNAL):
            runner.wait_for_end(running, seconds=self._around.grace_seconds)
            running.kill()
        for phase in PHASES:
            hook_run.end_by_force(self._directory.hook(phase))

    def tidy_up(self, verdict: Verdict) -> Verdict:
        """Run the hook after the backup if its turn has come, though the agent failed on the job. Raises Left."""
        return self._hooks.after(verdict)

    def run(self) -> JobFinished:
        """The job's true end; raises Left when the agent stops first."""
        job = self._job
        trouble = job.open()
        if self._directory.has_intent():
            return self._end(self._take_up())
        if self._directory.cancel_asked() and not self._directory.are_hooks_due():
            return job.finished(Verdict("cancelled", "cancelled", "The job was cancelled before it began."))
        if self._order.kind not in restic.KINDS:
            text = f"This agent cannot run jobs of kind {self._order.kind} yet. Update the agent."
            trouble = Verdict("failed", "unsupported", text)
        if trouble or job.repository is None:
            return self._end(self._refuse(trouble or Verdict("failed", "not_configured")))
        return self._end(self._begin(job.repository))

    def afterwards(self, finished: JobFinished) -> None:
        """What can wait until the end was told: how large the repository is, at most once a day after backups."""
        try:
            measuring.measure(self._job, finished)
        except Exception:
            log.exception("Measuring after job %s failed inside the agent", self._order.job_id)

    def report_started(self) -> None:
        """Tell (again) that the job runs."""
        if self._job.started_at:
            self._around.outbox.add(
                JobStarted(
                    job_id=self._order.job_id,
                    started_at=self._job.started_at,
                    command=self._job.command,
                    **orders.facts(self._order),
                )
            )

    # ---- the ways in --------------------------------------------------------------------------------

    def _begin(self, repository: Repository) -> Verdict:
        job = self._job
        try:
            job.started_at = self._directory.begin().at
            self._directory.clear()
        except OSError as error:
            return self._refuse(_disk_refuses(error))
        is_restore = self._order.kind == restoring.KIND
        step = restore_job.outline(job, repository) if is_restore else self._step(repository)
        if isinstance(step, Verdict):
            return self._refuse(step)
        job.command = self._shown(self._arguments(repository, step))
        other = identity.other_repository(job, repository)
        if other is not None:
            return self._refuse(Verdict("failed", "repository_changed", other))
        if self._order.kind == "unlock":
            job.locks_before = repository.locks()
        job.missing = [name for name in self._order.includes if not os.path.lexists(restic.path_bytes(name))]
        # What a restore brings is looked up in the repository, for which the way must be free.
        return self._work(repository, None if is_restore else step, None)

    def _work(self, repository: Repository | None, step: restic.Step | None, running: Running | None) -> Verdict:
        """Wait until the way is free, run the hook, run restic; once more when a lock was faster."""
        for tries_left in reversed(range(TRIES)):
            if running is None:
                if repository is None:
                    return Verdict("failed", "not_configured", "The repository is not configured any more.")
                started = self._get_ready(repository) or self._start(repository, step)
                if isinstance(started, Verdict):
                    return started
                running = started
            code = Follower(self._job, self._wake).follow(running)
            if not tries_left or not self._was_locked_out(code):
                return judgement.judge(self._job, code)
            self._job.say("another restic has locked the repository at the last moment; nothing was done")
            self._directory.withdraw()
            self._directory.clear()
            running = None
        raise AssertionError("the last try always ends")

    def _get_ready(self, repository: Repository) -> Verdict | None:
        """Why restic is not to be started. A hook that has run before a crash is looked at first."""
        steps = [lambda: self._lock_wait.wait(repository), self._hooks.before]
        if self._directory.are_hooks_due():
            steps.reverse()
        return next((verdict for step in steps if (verdict := step()) is not None), None)

    def _was_locked_out(self, code: int | str | None) -> bool:
        """Whether restic did nothing because somebody else holds a lock, and the job may try again."""
        if code in (None, 0, DISK_FULL) or self._job.must_end():
            return False
        if self._order.kind not in (*locks.SHARED, *locks.EXCLUSIVE):
            return False
        return code == LOCKED_CODE or "already locked" in output.error_text(self._directory)

    def _start(self, repository: Repository, step: restic.Step | None) -> Running | Verdict:
        job = self._job
        found = step or self._step(repository)
        if isinstance(found, Verdict):
            return self._refuse(found)
        arguments = self._arguments(repository, found)
        job.command = self._shown(arguments)
        intent = Intent(
            started_at=job.started_at or clock.now(),
            launched_at=clock.now(),
            command=job.command,
            boot_id=linux.boot_id(),
            missing=job.missing if self._order.kind == "backup" else [],
            out_from=_size(self._directory.out),
            err_from=_size(self._directory.err),
        )
        try:
            for name, content in found.files.items():
                handle = os.open(self._directory.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
            self._directory.intend(intent)
        except OSError as error:
            return self._refuse(_disk_refuses(error))
        self.report_started()
        job.say(f"$ {job.command}")
        job.say(f"repository: {repository.config.location}")
        for name in intent.missing:
            job.say(f"does not exist and will not be in the snapshot: {output.printable(name)}")
        job.book.flush()
        try:
            return runner.start(
                self._directory,
                program=repository.program,
                arguments=arguments,
                environment=repository.environment,
                intent=intent,
            )
        except OSError as error:
            return Verdict("failed", "restic_failed", f"restic could not be started: {error}")

    def _arguments(self, repository: Repository, step: restic.Step) -> list[str]:
        group = self._order.group
        limits = (
            repository.limits(upload=group.upload_kib_per_second, download=group.download_kib_per_second)
            if group
            else repository.bandwidth
        )
        return [*step.arguments, *restic.retry_lock(self._order, repository.tool.version or (0,)), *limits]

    def _shown(self, arguments: list[str]) -> str:
        return self._job.redactor.text("restic " + shlex.join(arguments))[:4000]

    def _step(self, repository: Repository) -> restic.Step | Verdict:
        """The call that does what the order says, or why there is none; raises Left when the agent stops first."""
        try:
            if self._order.kind == restoring.KIND:
                self.report_started()
                return restore_job.prepare(self._job, repository)
            if self._order.kind == diffing.KIND:
                return restic.Step(diffing.arguments(self._order))
            return restic.step(
                self._order,
                directory=str(self._directory.path),
                hostname=linux.hostname(),
            )
        except NotReadable as error:
            return Verdict("failed", error.reason, error.message)
        except ValueError as error:
            return Verdict("failed", "unsupported", f"The agent cannot carry this order out ({error}).")

    def _take_up(self) -> Verdict:
        job = self._job
        intent = self._directory.intent()
        job.started_at = intent.started_at if intent else None
        job.command = intent.command if intent else ""
        job.missing = list(intent.missing) if intent else []
        self.report_started()
        if self._directory.exit_code() is None and self._directory.processes() is None:
            if self._directory.claim() or intent is None or intent.boot_id != linux.boot_id():
                return judgement.interrupted(job, None)
            if not runner.wait_for_pid(self._directory, seconds=CLAIM_SECONDS):
                return judgement.interrupted(job, None)
        if not job.book.place.closed:
            job.say("the agent was restarted and has taken this job up again")
        running = Running(self._directory, child=None, boot_id=intent.boot_id if intent else "")
        return self._work(job.repository, None, running)

    def _refuse(self, verdict: Verdict) -> Verdict:
        """The verdict on a job for which restic is not even started."""
        self._job.started_at = self._job.started_at or clock.now()
        self.report_started()
        return verdict

    # ---- the end ------------------------------------------------------------------------------------

    def _end(self, verdict: Verdict) -> JobFinished:
        verdict = self._hooks.after(verdict)
        book = self._job.book
        if not book.place.closed:
            book.place.closed = True
            self._job.say(verdict.message)
            book.flush()
        return self._job.finished(verdict)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _disk_refuses(error: OSError) -> Verdict:
    text = f"The job's files cannot be written ({error.strerror}). Free some space."
    return Verdict("failed", "disk_full", text)
