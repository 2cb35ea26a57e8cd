"""How attempts ended: written down, put into the attempt's log, and told to the server until it has answered."""

import logging

from agent import clock
from agent.update.journal import Attempt, Outcome
from agent.update.kit import Kit
from rm.shared.protocol import UpdateResult

log = logging.getLogger("agent.update")

KIND = "update.result"


class Outcomes:
    """The one way to end an attempt; safe from any thread."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def finish(self, attempt: Attempt, outcome: str, phase: str, reason: str, detail: str) -> None:
        """Write the outcome down, then report it; in this order a crash between them repeats the report only."""
        self.say(attempt.attempt_id, f"{outcome}{f' ({reason})' if reason else ''}: {detail}")
        self._kit.journal.finish(
            Outcome(
                attempt_id=attempt.attempt_id,
                outcome=outcome,
                epoch=attempt.epoch,
                phase=phase,
                reason=reason[:64],
                detail=detail[:2000],
                at=clock.now(),
            )
        )
        self.report()
        self._kit.outbox.forget_bookmark(attempt.attempt_id)

    def report(self) -> None:
        """Put into the outbox what is not there yet; from then on it keeps it."""
        outbox = self._kit.outbox
        for one in self._kit.journal.unreported():
            if not self.waits(one.attempt_id):
                outbox.add(_result(one))
            if outbox.is_saved():
                self._kit.journal.reported(one.attempt_id)

    def repeat(self, known: Outcome) -> None:
        """Tell it once more, since the server asked again."""
        if not self.waits(known.attempt_id):
            self._kit.outbox.add(_result(known))

    def waits(self, attempt_id: str) -> bool:
        """Whether the server has not answered the report yet."""
        return self._kit.outbox.has(kind=KIND, job_id=attempt_id)

    def say(self, attempt_id: str, text: str) -> None:
        """One line in the attempt's log, and in the agent's own."""
        log.info("Update %s: %s", attempt_id, text)
        book = self._kit.log_of(attempt_id)
        book.write("agent", text)
        book.flush()

    def for_hello(self) -> dict[str, object] | None:
        """What hello says of updates: the one that goes on, or the last whose end the server has not heard of."""
        journal = self._kit.journal
        attempt = journal.attempt
        if attempt is not None:
            return _facts(attempt.attempt_id, attempt.phase, None, "", journal.epoch)
        for one in reversed(journal.outcomes):
            if not one.reported or self.waits(one.attempt_id):
                return _facts(one.attempt_id, one.phase, one.outcome, one.reason, journal.epoch)
        return None


def _facts(attempt_id: str, phase: str, outcome: str | None, reason: str, epoch: int) -> dict[str, object]:
    return {"attempt_id": attempt_id, "phase": phase, "outcome": outcome, "reason": reason, "epoch": epoch}


def _result(one: Outcome) -> UpdateResult:
    return UpdateResult(
        attempt_id=one.attempt_id, outcome=one.outcome, phase=one.phase, reason=one.reason, detail=one.detail
    )
