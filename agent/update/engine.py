"""The agent's updates as a whole: which order is worked on, which trial lasts, and what the connection tells them."""

import dataclasses
import logging
from collections.abc import Callable

from agent.errors import ConfigurationError
from agent.link import Ending
from agent.update import aftermath, orders, swap
from agent.update.download import FULL
from agent.update.ending import Ended
from agent.update.journal import BEFORE_THE_SWAP, Attempt, Outcome
from agent.update.kit import Kit
from agent.update.outcomes import Outcomes
from agent.update.records import Trial
from agent.update.swap import SwapError
from agent.update.timers import Timers
from agent.update.trial import OnTrial
from agent.update.trust import Marks
from agent.update.work import Work
from rm.shared.protocol import CommandRollback, CommandUpdate, CommandUpdateCancel, UpdateProgress

log = logging.getLogger("agent.update")

MAX_STARTS = 5
STOP_SECONDS = 5.0


class Updates:
    """All methods but the callbacks of the work are called by the thread that runs the connection."""

    def __init__(self, kit: Kit, *, restart: Callable[[], None]) -> None:
        self._kit = kit
        self._outcomes = Outcomes(kit)
        self._restart = restart
        self._work: Work | None = None
        self._trial: OnTrial | None = None
        self._is_swap_due = False
        self._is_settled = False

    def settle(self) -> None:
        """Take note of what became of an update; nothing here may keep the agent from running."""
        try:
            found = aftermath.settle(self._kit, self._outcomes)
            if found is not None:
                self._begin_trial(*found)
            self._is_settled = True
        except (OSError, ConfigurationError) as error:
            log.error("What became of an update cannot be told yet: %s", error)
        except Exception:
            log.exception("What became of an update cannot be told")
        self._outcomes.report()

    # ---- orders --------------------------------------------------------------------------------------

    def update(self, order: CommandUpdate) -> None:
        """Begin it, carry on with it, or say how it ended; the order may come more than once."""
        self._take(orders.of_update(self._kit, order))

    def roll_back(self, order: CommandRollback) -> None:
        """The same for going back to the release before."""
        self._take(orders.of_rollback(self._kit, order))

    def cancel(self, order: CommandUpdateCancel) -> None:
        """Give the attempt up if it has not passed the fence."""
        known = self._kit.journal.outcome_of(order.attempt_id)
        current, work = self._kit.journal.attempt, self._work
        text = "The update was cancelled at the server."
        if known is not None:
            self._outcomes.repeat(known)
        elif current is None or current.attempt_id != order.attempt_id:
            # Also for an order that comes only after its cancel.
            never_came = Attempt(attempt_id=order.attempt_id)
            self._outcomes.finish(never_came, "cancelled", "accepted", "cancelled", text)
        elif work is not None:
            work.cancel(text)
        elif current.phase in BEFORE_THE_SWAP:
            self._outcomes.finish(current, "cancelled", current.phase, "cancelled", text)

    def _take(self, attempt: Attempt) -> None:
        kit = self._kit
        current, known = kit.journal.attempt, kit.journal.outcome_of(attempt.attempt_id)
        if current is not None and current.attempt_id == attempt.attempt_id:
            self._show(current)
        elif known is not None and not self._is_asked_again(known, attempt):
            self._outcomes.repeat(known)
        elif attempt.to_sha256 == kit.release.sha256 and current is None:
            self._outcomes.finish(attempt, "committed", "accepted", "already_running", "This release runs already.")
        elif self._accept(attempt, is_retry=known is not None):
            self._begin()

    def _accept(self, attempt: Attempt, *, is_retry: bool) -> bool:
        try:
            self._kit.journal.begin(orders.judge(self._kit, attempt, is_settled=self._is_settled))
        except Ended as error:
            # What only waits goes on waiting, whatever it waits for.
            outcome = "deferred" if is_retry and error.reason in ("busy", "pinned") else error.outcome
            self._outcomes.finish(attempt, outcome, "accepted", error.reason, error.detail)
        except ConfigurationError as error:
            self._outcomes.finish(attempt, "refused", "accepted", "state_damaged", str(error))
        except (ValueError, TypeError) as error:
            text = f"The order cannot be understood: {error}"
            self._outcomes.finish(attempt, "refused", "accepted", "bad_order", text)
        except OSError as error:
            text = f"The order cannot be written down ({error.strerror}). Free some space on the host."
            self._outcomes.finish(attempt, "failed", "accepted", _disk_word(error), text)
        else:
            return True
        return False

    def _is_asked_again(self, known: Outcome, attempt: Attempt) -> bool:
        """A deferred attempt that the server has heard of and orders again."""
        is_heard = known.reported and not self._outcomes.waits(known.attempt_id)
        return known.outcome == "deferred" and (is_heard or attempt.epoch > known.epoch)

    def _begin(self) -> None:
        """Work on the attempt that the journal has, if it has one."""
        kit = self._kit
        attempt = kit.journal.attempt
        if attempt is None:
            return
        if attempt.starts >= MAX_STARTS:
            text = f"The agent ended {MAX_STARTS} times while it worked on this update; its own log says why."
            self._outcomes.finish(attempt, "failed", attempt.phase, "agent_restarts", text)
            return
        kit.journal.note(starts=attempt.starts + 1)
        self._work = Work(kit, kit.journal.attempt or attempt, ended=self._work_ended, ready=self._work_ready)
        self._work.show_again()
        self._work.start()

    def _show(self, attempt: Attempt) -> None:
        work = self._work
        if work is not None:
            work.show_again()
            return
        found = UpdateProgress(attempt_id=attempt.attempt_id, phase=attempt.phase)
        self._kit.outgoing.progress(found, key=f"{attempt.attempt_id} {attempt.phase}")
        self._kit.wake()

    # ---- what the work tells; in its thread ------------------------------------------------------------

    def _work_ended(self, attempt: Attempt, error: Ended, phase: str) -> None:
        try:
            self._kit.places.clear(self._kit.disk)
        except OSError as problem:
            log.error("What the update left cannot be removed: %s", problem)
        self._outcomes.finish(attempt, error.outcome, phase, error.reason, error.detail)
        work = self._work
        if work is not None and work.attempt.attempt_id == attempt.attempt_id:
            self._work = None

    def _work_ready(self, attempt: Attempt) -> None:
        # Raises OSError, and then nothing is swapped.
        self._kit.journal.note_surely(phase="swapping", was_red=self._kit.red(), trouble="", trouble_code="")
        self._is_swap_due = True
        self._restart()

    # ---- the end of the process ------------------------------------------------------------------------

    @property
    def is_swap_due(self) -> bool:
        return self._is_swap_due

    def stop(self, *, is_ordered: bool) -> None:
        """The agent ends, by somebody's order or by its own will."""
        if self._trial is not None and is_ordered:
            self._trial.stop_was_ordered()
        work = self._work
        if work is not None and not self._is_swap_due:
            work.stop(STOP_SECONDS)

    def swap(self) -> None:
        """The last act of this process."""
        kit, attempt = self._kit, self._kit.journal.attempt
        if attempt is None:
            return
        timers = Timers.of(attempt.order.get("timers") or {})
        trial = Trial(
            attempt=attempt.attempt_id,
            from_sha256=attempt.from_sha256,
            to_sha256=attempt.to_sha256,
            limit_s=timers.revert_seconds,
            commit_s=timers.commit_seconds,
        )
        try:
            kit.floor_file.count_swap(kit.clock.now())
            swap.carry_out(kit.disk, kit.places, kit.files, trial)
        except SwapError as error:
            kit.journal.note(trouble=str(error), trouble_code=error.code)
        except (OSError, ConfigurationError) as error:
            kit.journal.note(trouble=f"The swap failed: {error}.", trouble_code=_disk_word(error))

    # ---- the trial ---------------------------------------------------------------------------------------

    def _begin_trial(self, trial: Trial, attempt: Attempt) -> None:
        self._trial = OnTrial(
            trial=trial,
            attempt=attempt,
            timers=Timers.of(attempt.order.get("timers") or {}),
            files=self._kit.files,
            red=self._kit.red,
            commit=lambda: self._commit(attempt),
            give_up=self._give_up,
        )
        log.info("Release %s is on trial (attempt %s).", self._kit.release.version, trial.attempt)

    def _commit(self, attempt: Attempt) -> None:
        self._trial = None
        aftermath.committed(self._kit, self._outcomes, attempt)

    def _give_up(self, code: str, text: str) -> None:
        self._kit.journal.note(trouble=text, trouble_code=code)
        self._restart()

    def _note_phase(self, trial: OnTrial) -> None:
        attempt = self._kit.journal.attempt
        if attempt is not None and attempt.phase != trial.phase:
            self._kit.journal.note(phase=trial.phase)
            self._outcomes.say(attempt.attempt_id, trial.phase)
            self._show(dataclasses.replace(attempt, phase=trial.phase))

    # ---- what the connection tells ---------------------------------------------------------------------

    def dials(self) -> None:
        """A connection is about to be tried."""
        if self._trial is not None:
            self._trial.dials()

    def welcomed(self, server_time: str) -> None:
        """The server has taken this agent's hello."""
        self._kit.clock.set(server_time)
        self._kit.connections.began()
        trial, work = self._trial, self._work
        if trial is not None:
            trial.welcomed()
            self._note_phase(trial)
        elif work is not None:
            work.poke()
        elif not self._is_swap_due and self._is_settled:
            self._begin()

    def heard(self) -> None:
        """A heartbeat came back."""
        if self._trial is not None:
            self._trial.heard()

    def ended(self, ending: Ending) -> None:
        """A connection, or the try to make one, has ended."""
        self._kit.connections.ended()
        if self._trial is not None:
            self._trial.ended(ending)

    def look(self) -> float | None:
        """Do what is due; in how many seconds to look again, None for whenever it suits."""
        if not self._is_settled:
            self._settle_late()
        if self._trial is not None:
            return self._trial.look()
        if self._kit.marks.has(Marks.ROLLBACK_ASKED):
            self._roll_back_for_the_owner()
        return None

    def tick(self) -> None:
        """Now and then: bring to disk, and to the outbox, what was refused."""
        self._kit.journal.retry()
        self._outcomes.report()

    def told_trust(self, told: dict[str, object]) -> None:
        """A server's root keys, which count only where none are pinned."""
        if not told:
            return
        try:
            if self._kit.trust_file.pin(told):
                log.info("The server's root keys are pinned.")
        except (OSError, ConfigurationError) as error:
            log.error("The root keys were not pinned: %s", error)

    def for_hello(self) -> dict[str, object] | None:
        """What hello says of updates; None when there is nothing."""
        return self._outcomes.for_hello()

    @property
    def is_pinned(self) -> bool:
        """Whether the host's owner takes no updates."""
        return self._kit.marks.has(Marks.PINNED)

    def _settle_late(self) -> None:
        """What could not be read at the start can be now, perhaps in the middle of a connection."""
        self.settle()
        if not self._is_settled or not self._kit.connections.is_up:
            return
        if self._trial is not None:
            self._trial.welcomed()
        else:
            self._begin()

    def _roll_back_for_the_owner(self) -> None:
        kit = self._kit
        try:
            kit.marks.clear(Marks.ROLLBACK_ASKED)
            previous = orders.floor_of(kit).previous_at(kit.clock.now())
            if previous is None or kit.journal.attempt is not None:
                log.error("The owner's rollback does not begin: an update goes on, or nothing is kept.")
                return
            attempt = orders.of_owner(previous, epoch=kit.journal.epoch, from_sha256=kit.release.sha256 or "")
            kit.journal.begin(attempt)
        except (OSError, ConfigurationError) as error:
            log.error("The owner's rollback does not begin: %s", error)
            return
        self._begin()


def _disk_word(error: Exception) -> str:
    return "disk_full" if isinstance(error, OSError) and error.errno in FULL else "io_error"
