"""One job at work: its order, its files, its log, and the repository that it works in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from agent import clock, redact, upkeep
from agent.errors import ConfigurationError
from agent.hooks import Hooks
from agent.job_directory import Begun, JobDirectory
from agent.joblog import LogBook
from agent.known import Known
from agent.locks import Ledger, Lock
from agent.outbox import Outbox
from agent.repository import NotUsable, Repositories, Repository
from agent.secrets import SecretsCorrupt, SecretsFile
from agent.target import Places
from agent.usual import Usual
from rm.shared.protocol import CommandRun, JobFinished, JobProgress
from rm.shared.words import counted

MOST_PROOFS = 5
# Removing the lock of a killed restic, and the time until who waits for it looks again.
FREEING_SECONDS = 10.0


@dataclass(frozen=True)
class Surroundings:
    """What every job needs from the agent."""

    secrets: SecretsFile
    repositories: Repositories
    outbox: Outbox
    show_progress: Callable[[JobProgress], None]
    stop: Event
    places: Places
    hooks: Hooks
    ledger: Ledger
    known: Known
    usual: Usual
    grace_seconds: float = 10.0


@dataclass(frozen=True)
class Verdict:
    """How a job ended, before it is told."""

    outcome: str
    reason: str = ""
    message: str = ""
    code: int | str | None = None
    summary: dict[str, Any] = field(default_factory=dict)


class Left(Exception):
    """The agent stops while the job goes on; the next start takes it up again."""


class Job:
    """What all that happens to one job shares."""

    def __init__(self, around: Surroundings, directory: JobDirectory, order: CommandRun) -> None:
        self.around = around
        self.directory = directory
        self.order = order
        self.redactor = redact.Redactor([])
        self.book = LogBook(order.job_id, around.outbox, self.redactor)
        self.repository: Repository | None = None
        self.started_at: str | None = None
        self.command = ""
        self.missing: list[str] = []
        self.identity: str | None = None
        self.locks_before: list[Lock] | None = None
        self.proofs: list[str] = []
        self.was_killed = False
        self._begun: Begun | None = None

    def open(self) -> Verdict | None:
        """Open the repository; why that cannot be."""
        try:
            secrets = self.around.secrets.load()
            self.redactor = redact.of_secrets(secrets)
            self.book = LogBook(self.order.job_id, self.around.outbox, self.redactor)
            self.repository = self.around.repositories.open(
                self.order.repository_id, for_maintenance=self.order.kind in upkeep.NEED_MAINTENANCE
            )
        except SecretsCorrupt as error:
            return Verdict("failed", "secrets_corrupt", str(error))
        except ConfigurationError as error:
            return Verdict("failed", "not_configured", str(error))
        except NotUsable as error:
            return Verdict("failed", error.reason, error.message)
        return None

    def elapsed(self) -> float:
        """Seconds since the job was begun, in this life of the agent or one before."""
        self._begun = self._begun or self.directory.begun()
        return self._begun.elapsed() if self._begun else 0.0

    def must_end(self) -> bool:
        """Whether the job was cancelled, or its time box leaves no more than the time to end in."""
        if self.directory.is_to_end():
            return True
        box = self.order.time_box_seconds
        # The box is over when the lock is free, not when restic is first asked to end.
        if not box or self.elapsed() < box - min(self.around.grace_seconds + FREEING_SECONDS, box / 3):
            return False
        self.directory.end_time_box()
        return True

    def ended_early(self, when: str, more: str = "", code: int | str | None = None) -> Verdict:
        """The verdict on a job that a cancel or its time box has ended; a cancel is told before the box."""
        if self.directory.cancel_asked():
            return Verdict("cancelled", "cancelled", f"The job was cancelled {when}.{more}", code)
        box = duration(self.order.time_box_seconds)
        text = f"The job was ended {when}, because its time box of {box} was over. What it did is kept."
        return Verdict("cancelled", "time_box", text + more, code)

    def say(self, text: str) -> None:
        """Add a line of the agent to the log."""
        self.book.write("agent", self.redactor.text(text))

    def finished(self, verdict: Verdict) -> JobFinished:
        """The verdict as it is told, without secrets."""
        return JobFinished(
            job_id=self.order.job_id,
            outcome=verdict.outcome,
            exit_code=verdict.code if isinstance(verdict.code, int) else None,
            reason=verdict.reason,
            message=self.redactor.text(verdict.message)[:2000],
            started_at=self.started_at,
            finished_at=clock.now(),
            summary=verdict.summary | ({"lock_proofs": self.proofs[:MOST_PROOFS]} if self.proofs else {}),
        )


def duration(seconds: int) -> str:
    """7200 as 2 hours, 90 as 90 seconds."""
    for size, noun in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return counted(seconds // size, noun)
    return counted(seconds, "second")
