"""One job from its order to its one true outcome, in this life of the agent or the next."""

import logging
import os
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent import clock, output, redact, restic, runner, snapshots, upkeep
from agent.errors import ConfigurationError
from agent.joblog import LogBook
from agent.journal import DISK_FULL, Intent, JobDirectory
from agent.outbox import Outbox
from agent.platform import linux
from agent.progress import ProgressMeter
from agent.repository import NotUsable, Repositories, Repository
from agent.secrets import SecretsCorrupt, SecretsFile
from rm.shared.protocol import CommandRun, JobFinished, JobProgress, JobStarted, RepositoryStats, Snapshot
from rm.shared.words import counted

log = logging.getLogger("agent.execution")

POLL_SECONDS = 0.2
CLAIM_SECONDS = 5.0


@dataclass(frozen=True)
class Surroundings:
    """What every job needs from the agent."""

    secrets: SecretsFile
    repositories: Repositories
    outbox: Outbox
    show_progress: Callable[[JobProgress], None]
    stop: threading.Event
    grace_seconds: float = 10.0


class Left(Exception):
    """The agent stops while restic runs on; the next start takes the job up again."""


class Execution:
    """Runs one accepted order, or takes up one that an agent before this one had started."""

    def __init__(self, around: Surroundings, directory: JobDirectory, order: CommandRun) -> None:
        self._around = around
        self._directory = directory
        self._order = order
        self._redactor = redact.Redactor([])
        self._book = LogBook(order.job_id, around.outbox, self._redactor)
        self._meter = ProgressMeter(order.job_id)
        self._wake = threading.Event()
        self._repository: Repository | None = None
        self._started_at: str | None = None
        self._command = ""
        self._missing: list[str] = []
        self._was_killed = False
        self._identity: str | None = None
        self._locks_before: list[upkeep.Lock] | None = None

    def wake(self) -> None:
        """Look at once: a cancel was asked, or the agent stops."""
        self._wake.set()

    def abandon(self) -> None:
        """The agent itself failed on this job: restic must not run beside the next one."""
        self._directory.claim()
        running = runner.Running(self._directory, child=None, boot_id=linux.boot_id())
        if running.signal(restic.CANCEL_SIGNAL):
            runner.wait_for_end(running, seconds=self._around.grace_seconds)
            running.kill()

    def run(self) -> JobFinished:
        """The job's true end; raises Left when the agent stops first."""
        try:
            secrets = self._around.secrets.load()
            self._redactor = redact.of_secrets(secrets)
            self._book = LogBook(self._order.job_id, self._around.outbox, self._redactor)
            self._repository = self._around.repositories.open(
                self._order.repository_id, for_maintenance=self._order.kind in upkeep.NEED_MAINTENANCE
            )
        except SecretsCorrupt as error:
            trouble: tuple[str, str] | None = ("secrets_corrupt", str(error))
        except ConfigurationError as error:
            trouble = ("not_configured", str(error))
        except NotUsable as error:
            trouble = (error.reason, error.message)
        else:
            trouble = None
        if self._directory.has_intent():
            return self._take_up()
        if self._directory.cancel_asked():
            return self._finished("cancelled", "cancelled", "The job was cancelled before it began.")
        if self._order.kind not in restic.KINDS:
            trouble = ("unsupported", f"This agent cannot run jobs of kind {self._order.kind} yet. Update the agent.")
        if trouble or self._repository is None:
            return self._refuse(*(trouble or ("not_configured", "")))
        return self._begin(self._repository)

    def report_started(self) -> None:
        """Tell (again) that the job runs."""
        if self._started_at:
            self._around.outbox.add(
                JobStarted(job_id=self._order.job_id, started_at=self._started_at, command=self._command)
            )

    # ---- the ways in --------------------------------------------------------------------------------

    def _begin(self, repository: Repository) -> JobFinished:
        try:
            step = restic.step(
                self._order,
                directory=str(self._directory.path),
                version=repository.tool.version or (0,),
                hostname=linux.hostname(),
            )
        except ValueError as error:
            return self._refuse("unsupported", f"The agent cannot carry this order out ({error}).")
        other = self._other_repository(repository)
        if other is not None:
            return self._refuse("repository_changed", other)
        if self._order.kind == "unlock":
            self._locks_before = repository.locks()
        arguments = [*step.arguments, *repository.bandwidth]
        self._command = self._redactor.text("restic " + shlex.join(arguments))[:4000]
        self._started_at = clock.now()
        self._missing = [name for name in self._order.includes if not os.path.lexists(restic.path_bytes(name))]
        intent = Intent(
            started_at=self._started_at,
            command=self._command,
            boot_id=linux.boot_id(),
            missing=self._missing if self._order.kind == "backup" else [],
        )
        try:
            for name, content in step.files.items():
                handle = os.open(self._directory.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
            self._directory.intend(intent)
        except OSError as error:
            return self._refuse("disk_full", f"The job's files cannot be written ({error.strerror}). Free some space.")
        self.report_started()
        self._say(f"$ {self._command}")
        self._say(f"repository: {self._redactor.text(repository.config.location)}")
        for name in intent.missing:
            self._say(f"does not exist and will not be in the snapshot: {output.printable(name)}")
        self._book.flush()
        try:
            running = runner.start(
                self._directory,
                program=repository.program,
                arguments=arguments,
                environment=repository.environment,
                intent=intent,
            )
        except OSError as error:
            return self._end("failed", "restic_failed", f"restic could not be started: {error}")
        return self._follow(running)

    def _other_repository(self, repository: Repository) -> str | None:
        """Why restic must not write here: another repository than the one that the server knows is at this place."""
        known = str(self._order.parameters.get("restic_repository_id") or "")
        if not known or self._order.kind not in upkeep.NEED_IDENTITY:
            return None
        # When it does not open, the job itself will tell why; that has words of its own.
        self._identity, _ = repository.identity()
        if self._identity is None or self._identity == known:
            return None
        self._around.outbox.add(
            RepositoryStats(repository_id=self._order.repository_id, restic_repository_id=self._identity)
        )
        return (
            f"Another repository is at this place: its id is {self._identity[:10]}, expected was {known[:10]}. Nothing"
            " was written. If that is intended, accept it on the repository's page; if not, look at the location."
        )

    def _take_up(self) -> JobFinished:
        intent = self._directory.intent()
        self._started_at = intent.started_at if intent else None
        self._command = intent.command if intent else ""
        self._missing = list(intent.missing) if intent else []
        self.report_started()
        if self._directory.exit_code() is None and self._directory.processes() is None:
            if self._directory.claim() or intent is None or intent.boot_id != linux.boot_id():
                return self._interrupted(None)
            if not runner.wait_for_pid(self._directory, seconds=CLAIM_SECONDS):
                return self._interrupted(None)
        if not self._book.place.closed:
            self._say("the agent was restarted and has taken this job up again")
        return self._follow(runner.Running(self._directory, child=None, boot_id=intent.boot_id if intent else ""))

    def _refuse(self, reason: str, message: str) -> JobFinished:
        """The end of a job for which restic is not even started."""
        self._started_at = self._started_at or clock.now()
        self.report_started()
        return self._end("failed", reason, message)

    # ---- while restic runs --------------------------------------------------------------------------

    def _follow(self, running: runner.Running) -> JobFinished:
        place = self._book.place
        out = runner.LineTail(self._directory.out, place.out)
        err = runner.LineTail(self._directory.err, place.err)
        told_at: float | None = None
        while True:
            self._wake.clear()
            alive = running.is_alive()
            code = running.exit_code()
            self._take_in(out, err, ended=code is not None or not alive)
            if code is not None or not alive:
                return self._judge(code)
            if self._around.stop.is_set():
                self._say("the agent stops; restic runs on, and the agent takes the job up again at its next start")
                self._book.flush()
                raise Left
            if self._directory.cancel_asked():
                told_at = self._press(running, told_at)
            self._wake.wait(POLL_SECONDS)

    def _take_in(self, out: runner.LineTail, err: runner.LineTail, *, ended: bool) -> None:
        """Bring what restic has written into the log, all of it once restic has ended."""
        while True:
            out_lines, err_lines = out.read(to_the_end=ended), err.read(to_the_end=ended)
            status = self._take_lines(out_lines, err_lines)
            self._book.place.out, self._book.place.err = out.offset, err.offset
            if status is not None and not ended:
                progress = self._meter.update(status, at=clock.now(), monotonic=time.monotonic())
                if progress is not None:
                    self._around.show_progress(progress)
            if self._book.is_due() or ended:
                self._book.flush()
            if not out_lines and not err_lines:
                return

    def _take_lines(self, out_lines: list[bytes], err_lines: list[bytes]) -> dict[str, Any] | None:
        status = None
        for stream, lines in (("out", out_lines), ("err", err_lines)):
            if stream == "out" and self._order.kind == "snapshots":
                continue
            for raw in lines:
                text = restic.readable(raw)
                message = restic.parse_line(text)
                if message is None and self._order.kind in upkeep.KINDS:
                    message = upkeep.progress(text)
                if message is None:
                    self._book.write(stream, text)
                elif message["message_type"] == "status":
                    status = message
                elif message["message_type"] == "summary":
                    for line in restic.describe_summary(message):
                        self._book.write("out", line)
                else:
                    shown = restic.describe_message(message)
                    if shown is not None:
                        self._book.write("err", shown)
        return status

    def _press(self, running: runner.Running, told_at: float | None) -> float | None:
        """Ask restic to end, and end it by force when the grace is over."""
        grace = self._around.grace_seconds
        if told_at is None:
            if not running.signal(restic.CANCEL_SIGNAL):
                return None
            self._say(f"cancel: restic is asked to end ({restic.CANCEL_SIGNAL.name}) and has {grace:.0f} s")
            return time.monotonic()
        if not self._was_killed and time.monotonic() - told_at >= grace:
            self._was_killed = True
            self._say(
                f"restic did not end within {grace:.0f} s and was killed; its lock may remain in the repository until"
                " this removes it: restic unlock"
            )
            running.kill()
        return told_at

    # ---- the end ------------------------------------------------------------------------------------

    def _judge(self, code: int | str | None) -> JobFinished:
        summary = output.find_summary(self._directory.out) if self._order.kind == "backup" else None
        has_ended_well = code in (0, 3) and (self._order.kind != "backup" or summary is not None)
        if self._directory.cancel_asked() and not has_ended_well:
            lock = self._remove_lock() if self._was_killed or code is None else ""
            return self._end("cancelled", "cancelled", f"The job was cancelled while it ran.{lock}", code=code)
        if code is None:
            return self._interrupted(summary)
        if code == DISK_FULL:
            return self._end("failed", "disk_full", restic.sentence("disk_full"))
        meaning = restic.meaning(int(code), error_text=output.error_text(self._directory), kind=self._order.kind)
        if self._order.kind == "init":
            return self._judge_init(meaning, int(code))
        if meaning.outcome == "failed":
            return self._end("failed", meaning.reason, meaning.message, code=code)
        if self._order.kind == "snapshots":
            return self._judge_listing(int(code))
        if self._order.kind in upkeep.KINDS:
            return self._judge_upkeep(int(code))
        return self._judge_backup(meaning, int(code), summary)

    def _judge_init(self, meaning: restic.Meaning, code: int) -> JobFinished:
        if self._repository is None or meaning.reason == "restic_killed":
            return self._end(meaning.outcome, meaning.reason, meaning.message, code=code)
        identity, opened = self._repository.identity()
        if identity is None and code == 0:
            return self._end(
                "failed", opened.reason, f"The repository does not open after it was made: {opened.message}"
            )
        if identity is None:
            worse = meaning if opened.reason == "no_repository" else opened
            return self._end("failed", worse.reason, worse.message, code=code)
        self._around.outbox.add(RepositoryStats(repository_id=self._order.repository_id, restic_repository_id=identity))
        text = (
            "The repository was created."
            if code == 0
            else "The repository existed already and opens with this password."
        )
        if code != 0:
            self._say(text)
        return self._end("succeeded", "", text, code=code)

    def _judge_listing(self, code: int) -> JobFinished:
        found = restic.parse_snapshots(restic.readable(self._directory.out.read_bytes()))
        if found is None:
            text = "restic ended well but what it printed is not a list of snapshots. Check which restic runs."
            return self._end("failed", "restic_garbled", text, code=code)
        self._report_snapshots(found)
        self._say(counted(len(found), "snapshot"))
        return self._end("succeeded", "", f"{counted(len(found), 'snapshot')} listed.", code=code)

    def _judge_upkeep(self, code: int) -> JobFinished:
        summary: dict[str, Any] = {}
        if self._order.kind == "unlock":
            after = self._repository.locks() if self._repository else None
            text, summary = upkeep.describe_unlock(self._locks_before, after)
        elif self._order.kind == "prune":
            text = upkeep.describe_prune(output.error_text(self._directory))
        else:
            text = upkeep.describe_check(self._order)
        return self._end("succeeded", "", text, code=code, summary=summary)

    def _judge_backup(self, meaning: restic.Meaning, code: int, summary: dict[str, Any] | None) -> JobFinished:
        listed = self._repository.snapshots() if self._repository else None
        if summary is None:
            mine = self._made_meanwhile(listed or [])
            if mine is None:
                return self._end("failed", "restic_garbled", restic.sentence("restic_garbled"), code=code)
            summary = {"snapshot_id": mine.id}
            text = f"restic's report cannot be read, but snapshot {mine.id[:8]} of this run is in the repository."
            meaning = restic.Meaning("warnings", "restic_garbled", text)
        if listed is not None:
            full = [s.id for s in listed if s.id.startswith(str(summary["snapshot_id"]))]
            summary = summary | ({"snapshot_id": full[0]} if len(full) == 1 else {})
            self._report_snapshots(listed)
        else:
            self._say("the snapshots could not be listed after the backup; the list will be updated by the next job")
        outcome, reason, message = meaning.outcome, meaning.reason, meaning.message
        # A later restic ends with 3 for a missing path too, which 0.14 only mentions.
        if self._missing and (outcome == "succeeded" or reason == "some_files_unreadable"):
            outcome, reason = "warnings", "source_missing"
            message = (
                f"The snapshot was made, but {len(self._missing)} of {len(self._order.includes)} paths to back up do"
                f" not exist on this host: {', '.join(map(output.printable, self._missing[:3]))}. Correct the includes."
            ) + (" If other files could not be read, the log names them." if code == 3 else "")
        message = message or restic.describe_success(summary)
        return self._end(outcome, reason, message, code=code, summary=restic.clean_summary(summary))

    def _made_meanwhile(self, listed: list[Snapshot]) -> Snapshot | None:
        name = self._order.hostname or linux.hostname()
        tag = self._order.source_group.replace(",", "_")
        mine = [
            s for s in listed
            if s.hostname == name and (not tag or tag in s.tags) and self._started_at and s.time >= self._started_at
        ]  # fmt: skip
        return mine[-1] if mine else None

    def _report_snapshots(self, found: list[Snapshot]) -> None:
        identity = self._identity or (self._repository.identity()[0] if self._repository else None)
        self._around.outbox.add_all(
            [
                *snapshots.reports(repository_id=self._order.repository_id, snapshots=found),
                RepositoryStats(
                    repository_id=self._order.repository_id, restic_repository_id=identity, snapshot_count=len(found)
                ),
            ]
        )

    def _interrupted(self, summary: dict[str, Any] | None) -> JobFinished:
        if self._directory.cancel_asked():
            lock = self._remove_lock() if self._started_at else ""
            return self._end("cancelled", "cancelled", f"The job was cancelled.{lock}")
        text = restic.sentence("interrupted")
        if summary and summary.get("snapshot_id"):
            text += f" Before that it had reported snapshot {str(summary['snapshot_id'])[:64]}."
        return self._end("failed", "interrupted", text)

    def _remove_lock(self) -> str:
        """What became of the lock of a restic that was ended by force; `unlock` removes those of dead processes."""
        if self._repository is not None and self._repository.unlock():
            return " Its lock was removed."
        return " Its lock may remain in the repository; when no other restic works there, remove it: restic unlock"

    def _say(self, text: str) -> None:
        self._book.write("agent", text)

    def _end(
        self, outcome: str, reason: str, message: str, *, code: int | str | None = None,
        summary: dict[str, Any] | None = None,
    ) -> JobFinished:  # fmt: skip
        if not self._book.place.closed:
            self._book.place.closed = True
            self._say(self._redactor.text(message))
            self._book.flush()
        return self._finished(outcome, reason, message, code=code, summary=summary)

    def _finished(
        self, outcome: str, reason: str, message: str, *, code: int | str | None = None,
        summary: dict[str, Any] | None = None,
    ) -> JobFinished:  # fmt: skip
        return JobFinished(
            job_id=self._order.job_id,
            outcome=outcome,
            exit_code=code if isinstance(code, int) else None,
            reason=reason,
            message=self._redactor.text(message)[:2000],
            started_at=self._started_at,
            finished_at=clock.now(),
            summary=summary or {},
        )
