"""What became of an update, read from the files at the next start: by the old agent, or by the new one."""

import dataclasses
import logging

from agent.errors import ConfigurationError
from agent.platform.replace import sha256
from agent.update.journal import BEFORE_THE_SWAP, Attempt
from agent.update.kit import Kit
from agent.update.orders import floor_of
from agent.update.outcomes import Outcomes
from agent.update.records import Trial, Verdict
from agent.update.trust import Previous
from rm.shared import ids, instants

log = logging.getLogger("agent.update")

# What the guard calls an attempt whose trial it could not read.
UNREADABLE = "unreadable"

_VERDICTS = {
    "boots": "The new release did not stay up: it was started three times.",
    "asked": "The new release asked for the earlier one.",
    "expired": "The new release did not say hello, or was not well, within its time.",
    "unreachable": "The server could not be reached from the new release.",
    "credential": "The server did not take this host's credential.",
    "damaged": "The program on the disk was neither the new release nor the earlier one.",
    "unreadable": "The guard could not read what was on trial, and put the earlier release back.",
    "counter": "The guard could not count the starts: its disk refused.",
    "no_old": "The earlier release is gone; it could not be put back.",
    "old_wrong_hash": "The kept file is not the earlier release; it was not put back.",
    "old_unreadable": "The earlier release could not be read and was not put back yet; the guard tries again.",
    "rename": "The earlier release could not be put back yet: the disk refused. The guard tries again.",
}


def settle(kit: Kit, outcomes: Outcomes) -> tuple[Trial, Attempt] | None:
    """Take note of how an update ended; the trial that this very agent is on, if it is. Raises OSError."""
    kit.files.prune_bad()
    attempt, running = kit.journal.attempt, kit.release.sha256
    verdict, trial = kit.files.verdict(), kit.files.trial()
    if trial is not None and not trial.to_sha256:
        # Only the guard may end what it cannot read; if the journal knows more, this agent is on that trial.
        if attempt is None or attempt.phase in BEFORE_THE_SWAP or running != attempt.to_sha256:
            return None
        trial = dataclasses.replace(
            trial, attempt=attempt.attempt_id, from_sha256=attempt.from_sha256, to_sha256=attempt.to_sha256
        )
    if verdict is not None:
        _take_verdict(kit, outcomes, verdict, attempt)
    elif trial is not None and trial.to_sha256 == running:
        return trial, _on_trial(kit, trial, attempt)
    elif trial is not None:
        kit.files.end_trial()
        _was_not_swapped(kit, outcomes, attempt or Attempt(attempt_id=trial.attempt, phase="swapping"))
    elif attempt is not None and attempt.phase not in BEFORE_THE_SWAP:
        if running == attempt.to_sha256:
            # The guard ends a trial of what lives only when it has been committed.
            committed(kit, outcomes, attempt)
        else:
            _was_not_swapped(kit, outcomes, attempt)
    if running is not None:
        floor_of(kit)
        kit.trust_file.pin(kit.secrets.load().trust)
    return None


def committed(kit: Kit, outcomes: Outcomes, attempt: Attempt) -> None:
    """The new release has proven itself: the floor rises, and the one before is kept to go back to, once."""
    previous = None
    if attempt.kind == "update" and attempt.from_sha256:
        previous = Previous(
            sha256=attempt.from_sha256,
            seq=attempt.from_seq,
            version=attempt.from_version,
            committed_at=instants.to_text(kit.clock.now()),
        )
    try:
        kit.floor_file.committed(
            seq=attempt.to_seq, sha256=attempt.to_sha256, version=attempt.to_version, previous=previous
        )
        kit.places.clear(kit.disk)
    except (OSError, ConfigurationError) as error:
        log.error("The floor cannot be raised: %s", error)
    outcomes.finish(attempt, "committed", "soaking", "", f"Release {attempt.to_version} is committed.")


def _on_trial(kit: Kit, trial: Trial, attempt: Attempt | None) -> Attempt:
    if attempt is None or attempt.attempt_id != trial.attempt:
        log.error("update.json knows nothing of the trial %s; it goes on without.", trial.attempt)
        attempt = Attempt(
            attempt_id=trial.attempt,
            order={"timers": {"revert_seconds": trial.limit_s}},
            from_sha256=trial.from_sha256,
            to_sha256=trial.to_sha256,
            to_version=kit.release.version,
            to_seq=kit.release.seq,
        )
        kit.journal.attempt = attempt
    kit.journal.note(phase="trial")
    return kit.journal.attempt or attempt


def _take_verdict(kit: Kit, outcomes: Outcomes, verdict: Verdict, attempt: Attempt | None) -> None:
    if verdict.attempt == UNREADABLE and attempt is not None and attempt.phase not in BEFORE_THE_SWAP:
        verdict = dataclasses.replace(verdict, attempt=attempt.attempt_id)
    if kit.journal.outcome_of(verdict.attempt) is None and ids.is_ulid(verdict.attempt):
        known = attempt if attempt and attempt.attempt_id == verdict.attempt else Attempt(attempt_id=verdict.attempt)
        has_asked = verdict.reason in ("asked", "credential") and bool(known.trouble)
        outcomes.finish(
            known,
            "rolled_back" if verdict.kind == "reverted" else "revert_failed",
            known.phase if known.phase == "soaking" else "trial",
            known.trouble_code if has_asked else verdict.reason,
            f"{_VERDICTS.get(verdict.reason, verdict.reason)} {known.trouble if has_asked else ''}".strip(),
        )
    kit.files.forget_verdict()


def _was_not_swapped(kit: Kit, outcomes: Outcomes, attempt: Attempt) -> None:
    if attempt.phase in BEFORE_THE_SWAP:
        return
    places = kit.places
    if attempt.kind == "rollback" and sha256(places.new) == attempt.to_sha256 != sha256(places.old):
        kit.disk.rename(places.new, places.old)
        kit.disk.sync_names(places.program.parent)
    kit.places.clear(kit.disk)
    has_run = attempt.phase != "swapping"
    if has_run or (kit.files.is_bad(attempt.to_sha256) and not attempt.order.get("force")):
        text = "The earlier release was put back; the guard could not write down why."
        outcomes.finish(attempt, "rolled_back", attempt.phase, attempt.trouble_code or "unrecorded", text)
    elif attempt.trouble:
        outcomes.finish(attempt, "failed", "swapping", attempt.trouble_code, attempt.trouble)
    else:
        text = "The host went down between the decision and the swap; nothing was changed."
        outcomes.finish(attempt, "deferred", "swapping", "interrupted", text)
