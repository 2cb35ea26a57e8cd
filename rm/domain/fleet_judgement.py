"""What became of each host of a fleet update, and what its failure means for the others."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rm.domain.fleet_plan import CANARY_WAVE
from rm.domain.fleet_state import SUCCEEDED, UNFINISHED, Attempt, Fleet, Member, Settle, Stop

# ended because the host must or need not be updated: never a failure
NO_FAILURE = {"pinned": "pinned", "held": "held", "current": "current", "not_behind": "current", "ahead": "ahead"}

# A host that was seen within this time has not vanished: it may be restarting.
VANISHED_AFTER = timedelta(seconds=300)
VANISHED_SHARE_PERCENT = 5


def settled(fleet: Fleet, member: Member, now: datetime, *, may_pass_over: bool) -> Settle | None:
    """The host's next state as its attempt says, or None when it stays. `may_pass_over`: it may give its slot away."""
    after, reason, verdict = _state_of(fleet, member, now, may_pass_over=may_pass_over)
    if after == member.state:
        return None
    return Settle(member.host_id, member.state, after, reason, verdict)


def _state_of(fleet: Fleet, member: Member, now: datetime, *, may_pass_over: bool) -> tuple[str, str, str]:
    attempt = member.attempt
    same = (member.state, "", "")
    if member.state in ("skipped", "excluded"):
        return same
    if member.state == "waiting" or (member.state == "passed_over" and attempt is None):
        return _before_order(fleet, member) or same
    if attempt is None and member.state not in UNFINISHED:
        return same
    if attempt is None:
        return ("waiting", "Its attempt is gone from the database; it is ordered again.", "")
    if attempt.is_open:
        if member.state == "failed" and attempt.state == "deferred":
            return ("passed_over", "It came back late and had not swapped.", "")
        if member.state not in UNFINISHED:
            return same
        return (_state_while_open(member, attempt, may_pass_over=may_pass_over), "", "")
    if attempt.state == SUCCEEDED:
        if attempt.is_rollback:
            return ("skipped", "Rolled back to what it ran before.", "")
        return (SUCCEEDED, "", "")
    if attempt.reason in NO_FAILURE and not attempt.is_rollback:
        return ("excluded", attempt.message, NO_FAILURE[attempt.reason])
    if attempt.state == "cancelled":
        return _after_cancel(member, attempt) or same
    return ("failed", attempt.message or f"The attempt ended: {attempt.state}.", "")


def _before_order(fleet: Fleet, member: Member) -> tuple[str, str, str] | None:
    if member.is_revoked:
        return ("excluded", "It was revoked.", "revoked")
    if member.agent_seq == fleet.to_seq:
        return ("excluded", "It runs this release already.", "current")
    if member.agent_seq > fleet.to_seq:
        return ("excluded", "It runs a newer release.", "ahead")
    return None


def _state_while_open(member: Member, attempt: Attempt, *, may_pass_over: bool) -> str:
    if attempt.state == "soaking":
        return "soaking"
    if attempt.state == "deferred":
        return "passed_over"
    if drains(attempt) and (may_pass_over or member.state == "passed_over"):
        return "passed_over"
    return "updating"


def _after_cancel(member: Member, attempt: Attempt) -> tuple[str, str, str] | None:
    if member.state == "failed" and not attempt.is_rollback and not attempt.is_cancelled_by_hand:
        return ("waiting", "It came back late and had not swapped; it is ordered again.", "")
    if member.state not in UNFINISHED:
        return None
    if attempt.is_rollback:
        return ("skipped", "Its rollback was cancelled; it stays as it was updated.", "")
    if attempt.is_cancelled_by_hand:
        return ("skipped", attempt.message or "Its update was cancelled by hand.", "")
    return ("waiting", "", "")


def drains(attempt: Attempt | None) -> bool:
    """Whether an attempt waits for a job of the host to end."""
    return attempt is not None and attempt.is_open and attempt.phase == "draining" and attempt.state == "running"


# ---- what a failure means ---------------------------------------------------------------------------


def consequence(fleet: Fleet, member: Member, *, failed: int) -> Stop | None:
    """What the failure of this host means for the others; `failed` counts it with those before that count as well."""
    attempt, options = member.attempt, fleet.options
    if attempt is None:
        return None
    why = f"{member.name}: {attempt.message or attempt.state}"
    if attempt.is_revert_failed:
        return Stop("halted", f"{why} It could not go back by itself.", member.host_id)
    if attempt.is_rollback:
        return None
    if attempt.failure_class == "integrity":
        return Stop("halted", why, member.host_id, closes_unfenced=True)
    if options.budget is None:
        return Stop("halted", why, member.host_id)
    if attempt.failure_class == "host":
        return None
    if attempt.failure_class == "infrastructure":
        return Stop("paused", why, member.host_id)
    if member.wave == CANARY_WAVE:
        return Stop("halted", f"{why} It was a canary.", member.host_id)
    allowed = options.budget.of(len(_in_scope(fleet.members)), round_up=False)
    if failed > allowed:
        return Stop("halted", f"{why} {failed} failed, {allowed} are allowed.", member.host_id)
    return None


def is_release_fault(attempt: Attempt | None) -> bool:
    """Whether a failed attempt counts against the release."""
    return attempt is not None and not attempt.is_rollback and attempt.failure_class in ("", "release", "integrity")


def _in_scope(members: Iterable[Member]) -> list[Member]:
    return [member for member in members if member.state != "excluded"]


def overdue(members: Iterable[Member], now: datetime) -> Stop | None:
    """The fleet's own cap on one host; the attempt's shorter one normally comes first."""
    for member in members:
        cap = member.attempt.cap_at if member.attempt and member.attempt.is_open else None
        if member.state == "updating" and cap is not None and now > cap:
            return Stop(
                "halted",
                f"{member.name}: its time is over and there is no verdict. The server may have been held up.",
                member.host_id,
            )
    return None


def vanished(fleet: Fleet, members: Iterable[Member], now: datetime) -> Stop | None:
    """More updated hosts went offline than may: something is wrong that no attempt has told."""
    if fleet.counted_from is not None and now < fleet.counted_from + VANISHED_AFTER:
        return None
    updated = [member for member in members if member.state in (SUCCEEDED, "soaking") and member.is_always_on]
    gone = [member for member in updated if _is_gone(member, now)]
    allowed = fleet.options.max_vanished
    if allowed is None:
        allowed = max(fleet.options.max_in_flight, -(-len(updated) * VANISHED_SHARE_PERCENT // 100))
    if len(gone) <= allowed:
        return None
    names = ", ".join(member.name for member in gone[:3])
    return Stop(
        "halted",
        f"{len(gone)} updated hosts went offline ({names}{' …' if len(gone) > 3 else ''}); {allowed} may.",
        gone[0].host_id,
    )


def count_gone(members: Iterable[Member], now: datetime) -> int:
    """How many updated hosts are offline for longer than a restart takes."""
    return sum(1 for one in members if one.state in (SUCCEEDED, "soaking") and one.is_always_on and _is_gone(one, now))


def _is_gone(member: Member, now: datetime) -> bool:
    if member.is_online:
        return False
    return member.last_seen_at is None or now >= member.last_seen_at + VANISHED_AFTER
