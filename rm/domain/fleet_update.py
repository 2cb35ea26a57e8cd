"""The next steps of a fleet update: a pure function (state, now) → actions, called again and again.

It remembers nothing: everything it needs is in the state that it is given, so a server that dies anywhere goes on
where it was. Each action is applied in a transaction of its own; what must not be torn apart is one action.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from rm.domain import fleet_judgement as judgement
from rm.domain.fleet_judgement import drains
from rm.domain.fleet_plan import CANARY_WAVE
from rm.domain.fleet_state import (
    OPEN_STATES,
    SUCCEEDED,
    UNFINISHED,
    Action,
    CloseAttempt,
    Finish,
    Fleet,
    Member,
    Order,
    OrderBack,
    Recall,
    Retry,
    Settle,
)

# After an attempt ended without a verdict, before the host is tried again.
TRY_AGAIN_AFTER = timedelta(seconds=10)


def step(fleet: Fleet, now: datetime) -> list[Action]:
    """What is to be done now, in this order; nothing when there is nothing to do."""
    if fleet.state not in OPEN_STATES:
        return []
    actions: list[Action] = []
    stopped_to = fleet.state
    members: list[Member] = []
    draining = sum(1 for member in fleet.members if member.state == "passed_over" and drains(member.attempt))
    failed = sum(
        1 for member in fleet.members if member.state == "failed" and judgement.is_release_fault(member.attempt)
    )
    for member in fleet.members:
        settled = judgement.settled(fleet, member, now, may_pass_over=draining < fleet.options.max_in_flight)
        if settled is None:
            members.append(member)
            continue
        if settled.after == "passed_over" and drains(member.attempt):
            draining += 1
        if settled.after == "failed":
            failed += 1 if judgement.is_release_fault(member.attempt) else 0
            stop = judgement.consequence(fleet, member, failed=failed)
            if stop is not None and _is_stopped_by(fleet, member, stop.to, stopped_to):
                settled = replace(settled, stop=stop)
                stopped_to = stop.to
        actions.append(settled)
        members.append(replace(member, state=settled.after, changed_at=now))
    if stopped_to == "running":
        stop = judgement.overdue(members, now) or judgement.vanished(fleet, members, now)
        if stop is not None:
            return [*actions, stop]
    return actions + _onward(replace(fleet, state=stopped_to, members=tuple(members)), now)


def _is_stopped_by(fleet: Fleet, member: Member, to: str, state: str) -> bool:
    if state == "cancelling":
        # nothing new is dispatched anyway; but no host is taken back after one that could not come back
        return fleet.is_rolling_back and member.attempt is not None and member.attempt.is_rollback
    order = ("running", "paused", "halted")
    return order.index(to) > order.index(state)


def _onward(fleet: Fleet, now: datetime) -> list[Action]:
    if fleet.state == "running":
        ending = _completion(fleet.members)
        if ending:
            return [ending]
        return [*_recalls(fleet, only_offline=True), *([] if fleet.held_because else _orders(fleet, now))]
    taken_back = _recalls(fleet, only_offline=False)
    if fleet.state != "cancelling":
        return taken_back
    taken_back += [CloseAttempt(member.host_id) for member in fleet.members if _is_to_close(fleet, member)]
    if taken_back or any(_in_hand(member) for member in fleet.members):
        return taken_back
    if fleet.is_rolling_back:
        back = next_to_roll_back(fleet.members)
        if back is not None:
            return [] if fleet.held_because else [OrderBack(back.host_id)]
    return [Finish("cancelled")]


# ---- who is next ------------------------------------------------------------------------------------


def _orders(fleet: Fleet, now: datetime) -> list[Action]:
    options, actions = fleet.options, list[Action]()
    wave = current_wave(fleet.members)
    if wave is None:
        return []
    free = options.max_in_flight - sum(1 for member in fleet.members if takes_slot(fleet, member))
    if options.frees_slot_at_hello:
        between = sum(1 for member in fleet.members if member.state in ("updating", "soaking"))
        free = min(free, 2 * options.max_in_flight - between)
    drainable = options.max_in_flight - sum(1 for member in fleet.members if drains(member.attempt))
    ready = [member for member in fleet.members if member.wave <= wave and _is_ready(member, now)]
    idle = [member for member in ready if not member.is_busy]
    for member in ready:
        if member.state == "waiting" and member.is_busy and idle and free > 0:
            actions.append(
                Settle(member.host_id, "waiting", "passed_over", "It runs a job; others go first, then it is its turn.")
            )
    # who was passed over comes at the end of its wave, who is still busy after all others
    line = sorted(ready, key=lambda one: (one.wave, one.is_busy, one.state == "passed_over", one.position))
    for member in line:
        if free <= 0:
            break
        if member.is_busy:
            if idle or drainable <= 0:
                continue
            drainable -= 1
        free -= 1
        actions.append(Retry(member.host_id) if member.holds_attempt else Order(member.host_id))
    return actions


def _is_ready(member: Member, now: datetime) -> bool:
    attempt = member.attempt
    if not member.is_online or member.state not in ("waiting", "passed_over"):
        return False
    if attempt is not None and attempt.is_open:
        return member.state == "passed_over" and attempt.retry_at is not None and now >= attempt.retry_at
    return attempt is None or now >= member.changed_at + TRY_AGAIN_AFTER


def takes_slot(fleet: Fleet, member: Member) -> bool:
    """Whether a host counts as in flight: until hello in waves, until it is committed otherwise."""
    if member.state == "updating":
        return True
    return member.state == "soaking" and (not fleet.options.frees_slot_at_hello or member.wave == CANARY_WAVE)


def current_wave(members: Iterable[Member]) -> int | None:
    """The wave that may be ordered now: the lowest with a host that others must wait for; None when none is left.

    Who is offline, or has put its update off, holds up nobody; but no wave starts before a canary has shown
    that the release works.
    """
    members = list(members)
    canaries = [member for member in members if member.wave == CANARY_WAVE]
    is_untested = any(one.state in UNFINISHED for one in canaries) and not any(
        one.state == SUCCEEDED for one in canaries
    )
    if is_untested:
        return CANARY_WAVE
    holding = [member.wave for member in members if _holds_up(member)]
    if holding:
        return min(holding)
    return max((member.wave for member in members if member.state in UNFINISHED), default=None)


def _holds_up(member: Member) -> bool:
    if member.state in ("updating", "soaking"):
        return True
    if member.attempt is not None and member.attempt.state == "deferred":
        return False
    return member.state in ("waiting", "passed_over") and (member.is_online or drains(member.attempt))


def next_to_roll_back(members: Iterable[Member]) -> Member | None:
    """The host that was updated last and can be reached; None when no other is left."""
    updated = [member for member in members if member.state == SUCCEEDED and member.is_online and member.attempt]
    return max(updated, key=lambda member: (member.changed_at, member.position), default=None)


# ---- taking back and ending -------------------------------------------------------------------------


def _recalls(fleet: Fleet, *, only_offline: bool) -> list[Action]:
    actions: list[Action] = []
    for member in fleet.members:
        attempt = member.attempt
        if attempt is None or attempt.is_cancel_requested or (attempt.is_rollback and fleet.is_rolling_back):
            continue
        after = SUCCEEDED if attempt.is_rollback else "waiting"
        if attempt.state == "queued" and not member.is_online:
            actions.append(Recall(member.host_id, "It went offline before the order reached it.", after))
        elif attempt.state in ("queued", "deferred") and not only_offline:
            actions.append(Recall(member.host_id, "The order was taken back before it began.", after))
    return actions


def _is_to_close(fleet: Fleet, member: Member) -> bool:
    attempt = member.attempt
    if attempt is None or attempt.is_rollback or attempt.is_fenced or attempt.is_cancel_requested:
        return False
    # softly: the current hosts finish, and one that waits for its own job is none of them
    return attempt.state in ("dispatched", "running") and (fleet.is_hard_cancel or drains(attempt))


def _in_hand(member: Member) -> bool:
    return member.state in ("updating", "soaking", "passed_over") and member.holds_attempt


def _completion(members: Iterable[Member]) -> Finish | None:
    states = {member.state for member in members}
    if states & set(UNFINISHED):
        return None
    if states & {"failed", "skipped"}:
        return Finish("completed_with_exceptions")
    return Finish("completed")


def is_only_offline_left(members: Iterable[Member]) -> bool:
    """Whether nothing is left to do but to wait for hosts that are offline."""
    left = [member for member in members if member.state in UNFINISHED]
    return bool(left) and all(member.state == "waiting" and not member.is_online for member in left)
