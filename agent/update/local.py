"""What the owner of this host can say and see of updates, on the host itself."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agent import clock, release_info, selftest, status
from agent.config import Paths
from agent.errors import AgentError, ConfigurationError
from agent.platform import linux
from agent.platform.replace import Disk, sha256
from agent.update import candidate, swap
from agent.update.candidate import Expected
from agent.update.ending import Ended
from agent.update.journal import UpdateJournal
from agent.update.kit import ServerClock
from agent.update.orders import of_owner
from agent.update.records import GuardFiles, Trial
from agent.update.swap import Places, SwapError
from agent.update.timers import Timers
from agent.update.trust import Floor, FloorFile, Marks, Previous, TrustFile

TAKEN_SECONDS = 45.0


class NotDone(AgentError):
    """What was asked for is not possible; the text says why and what is."""


@dataclass(frozen=True)
class Facts:
    """What is on the disk about updates; `trouble` says what cannot be read."""

    version: str
    seq: int
    floor: Floor | None
    previous: Previous | None
    trial: Trial | None
    attempt: dict[str, Any] | None
    last: dict[str, Any] | None
    bad: list[str]
    is_pinned: bool
    may_go_below: bool
    root_keys: list[str]
    keyset_version: int
    highest_seq: int
    guard_version: str
    trouble: list[str]


def look(paths: Paths) -> Facts:
    """All that `status` and `doctor` say about updates; changes nothing."""
    files, marks = GuardFiles(paths.update), Marks(paths.update)
    journal = UpdateJournal(paths.update / "update.json").load(set_aside=False)
    release = release_info.read()
    trouble: list[str] = []
    floor, keys, keyset_version, highest = None, list[str](), 0, 0
    try:
        floor = FloorFile(paths.update).load()
    except ConfigurationError as error:
        trouble.append(str(error))
    try:
        trust = TrustFile(paths.update).load()
        keys = [key.name for key in trust.keys]
        keyset_version, highest = trust.keyset_version, trust.highest_seq
    except ConfigurationError as error:
        trouble.append(str(error))
    attempt, last = journal.attempt, journal.outcomes[-1] if journal.outcomes else None
    return Facts(
        version=release.version,
        seq=release.seq,
        floor=floor,
        previous=floor.previous_at(ServerClock().now()) if floor else None,
        trial=files.trial(),
        attempt={"attempt_id": attempt.attempt_id, "phase": attempt.phase, "to": attempt.to_version}
        if attempt
        else None,
        last={"attempt_id": last.attempt_id, "outcome": last.outcome, "reason": last.reason, "detail": last.detail,
              "at": last.at} if last else None,
        bad=files.bad(),
        is_pinned=marks.has(Marks.PINNED),
        may_go_below=marks.has(Marks.ALLOW_DOWNGRADE),
        root_keys=keys,
        keyset_version=keyset_version,
        highest_seq=highest,
        guard_version=os.environ.get("RM_GUARD_VERSION", ""),
        trouble=trouble,
    )  # fmt: skip


def describe(found: Facts) -> list[str]:
    """The same as lines for people."""
    lines = [f"Release: {found.version} ({found.seq})"]
    if found.floor:
        lines.append(f"Lowest release that is taken: {found.floor.version} ({found.floor.seq})")
    if found.previous:
        lines.append(
            f"Release before: {found.previous.version} ({found.previous.seq}), until 7 days after"
            f" {found.previous.committed_at}: rm-agent rollback"
        )
    if found.attempt:
        lines.append(
            f"Update: attempt {found.attempt['attempt_id']} to {found.attempt['to']}, {found.attempt['phase']}"
        )
    elif found.last:
        lines.append(f"Last update: {found.last['outcome']} at {found.last['at']}: {found.last['detail']}")
    if found.trial:
        lines.append(f"On trial: {found.trial.to_sha256}, {found.trial.limit_s} s to say hello")
    lines += [f"Was put back here: {name}; to allow it again: rm-agent forget-bad {name}" for name in found.bad]
    if found.is_pinned:
        lines.append("Pinned: no update is taken. To end that: rm-agent unpin")
    if found.may_go_below:
        lines.append("The next update may go below the lowest release, once.")
    lines.append(
        f"Trusted root keys: {', '.join(found.root_keys) or 'none, so no update is taken'}"
        f" (keyset {found.keyset_version}, highest release seen {found.highest_seq})"
    )
    return lines + [f"Problem: {text}" for text in found.trouble]


def pin(paths: Paths) -> str:
    """No server's order replaces this agent any more."""
    _set(paths, Marks.PINNED)
    return "Pinned: this agent takes no update until rm-agent unpin. The server shows that and cannot lift it."


def unpin(paths: Paths) -> str:
    """Updates are taken again."""
    was = _clear(paths, Marks.PINNED)
    return "Not pinned any more: updates are taken again." if was else "This agent was not pinned."


def allow_downgrade(paths: Paths) -> str:
    """One order may go below the lowest release."""
    _set(paths, Marks.ALLOW_DOWNGRADE)
    return (
        "The next update may be to an older release than ran here, once. Its signature must be in order all the same."
    )


def forget_bad(paths: Paths, name: str) -> str:
    """An artifact that was put back may be tried again; raises NotDone."""
    try:
        was_there = GuardFiles(paths.update).forget_bad(name)
    except OSError as error:
        raise NotDone(f"{paths.update}/bad cannot be changed: {error.strerror}.") from error
    if not was_there:
        raise NotDone(f"{name[:64]} is not on the list of what was put back here. The list: rm-agent status")
    return f"{name} may be tried again."


def rollback(paths: Paths, *, lock: Callable[[Paths], Any], say: Callable[[str], None]) -> None:
    """Go back to the release before: through the running agent, or here if it is stopped. Raises NotDone."""
    previous = _previous(paths)
    found = status.read(paths)
    if found is not None and status.is_running(found):
        _ask_the_agent(paths)
        say(f"The agent goes back to {previous.version} ({previous.seq}). How that goes: rm-agent status")
        return
    held = lock(paths)
    try:
        _roll_back_now(paths, previous)
    finally:
        held.close()
    say(f"Release {previous.version} ({previous.seq}) is in place, on trial at its first start. Start the agent now.")


def _previous(paths: Paths) -> Previous:
    if GuardFiles(paths.update).trial() is not None:
        raise NotDone("An update is on trial; the guard puts it back by itself if it is not well.")
    floor = FloorFile(paths.update).load()
    previous = floor.previous_at(ServerClock().now()) if floor else None
    if previous is None:
        raise NotDone("There is nothing to go back to: one can, once, within 7 days after an update.")
    if sha256(Places(paths.program).old) != previous.sha256:
        raise NotDone(f"{Places(paths.program).old} is not the release that was kept, or is gone.")
    return previous


def _ask_the_agent(paths: Paths) -> None:
    marks = Marks(paths.update)
    _set(paths, Marks.ROLLBACK_ASKED)
    until = time.monotonic() + TAKEN_SECONDS
    while marks.has(Marks.ROLLBACK_ASKED):
        if time.monotonic() > until:
            _clear(paths, Marks.ROLLBACK_ASKED)
            raise NotDone(f"The running agent did not take this up within {TAKEN_SECONDS:.0f} s. Its log says why.")
        time.sleep(0.2)


def _roll_back_now(paths: Paths, previous: Previous) -> None:
    disk, places, files = Disk(), Places(paths.program), GuardFiles(paths.update)
    live = sha256(places.program)
    journal = UpdateJournal(paths.update / "update.json").load()
    if journal.attempt is not None:
        raise NotDone(f"Update {journal.attempt.attempt_id} is not over; start the agent and let it end.")
    attempt = replace(of_owner(previous, epoch=journal.epoch, from_sha256=live), phase="swapping")
    timers = Timers()
    try:
        swap.stage_old(disk, places)
        candidate.selftest(
            places.new,
            root=str(paths.bin.parent) if paths.bin else None,
            expected=Expected(previous.version, previous.seq, previous.sha256),
            own=lambda: dict(selftest.examine(paths)["checks"]),
            wait=lambda seconds: None,
        )
        journal.begin(attempt)
        trial = Trial(attempt.attempt_id, live, previous.sha256, timers.unreachable_seconds, timers.commit_seconds)
        swap.carry_out(disk, places, files, trial)
    except (Ended, SwapError) as error:
        raise NotDone(str(error)) from error
    except OSError as error:
        raise NotDone(f"{error.filename or places.program.parent}: {error.strerror}.") from error


def _set(paths: Paths, name: str) -> None:
    try:
        paths.update.mkdir(parents=True, exist_ok=True, mode=0o700)
        Marks(paths.update).set(name, f"{clock.now()} by user {linux.user_name()}\n")
    except OSError as error:
        raise NotDone(f"{paths.update} cannot be written: {error.strerror}. Run this as root.") from error


def _clear(paths: Paths, name: str) -> bool:
    try:
        return Marks(paths.update).clear(name)
    except OSError as error:
        raise NotDone(f"{paths.update} cannot be written: {error.strerror}. Run this as root.") from error
