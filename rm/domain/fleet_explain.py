"""Why a host of a fleet update is not being updated at this moment, in one or two sentences."""

from collections.abc import Iterable
from datetime import datetime

from rm.domain.fleet_judgement import drains
from rm.domain.fleet_plan import CANARY_WAVE
from rm.domain.fleet_state import SUCCEEDED, UNFINISHED, Fleet, Member
from rm.domain.fleet_update import current_wave, takes_slot
from rm.shared.words import counted


def explain(fleet: Fleet, host_id: str, *, to_version: str, stopped_because: str = "") -> str:
    """The sentence for this host; raises KeyError for one that the fleet update does not have."""
    member = {one.host_id: one for one in fleet.members}[host_id]
    name = member.name
    if member.state == "excluded":
        return f"{name} is not updated: {member.reason or member.verdict}"
    if member.state == "skipped":
        return f"{name} is left out: {member.reason or 'it was skipped.'}"
    if member.state == SUCCEEDED:
        return f"{name} runs {to_version}; nothing is left to do."
    if member.state == "failed":
        return f"{name} failed: {member.reason} It is tried again only when somebody chooses “Retry failed”."
    if member.state == "updating":
        return f"{name} is being updated now{_phase(member)}."
    if member.state == "soaking":
        return f"{name} runs {to_version} and is watched until its soak is over."
    if fleet.state == "planned":
        return f"{name} waits because the fleet update has not been started."
    if fleet.state not in ("running", *_STOPPED):
        return f"{name} was left as it is: the fleet update is over."
    if fleet.state in _STOPPED:
        why = f" {stopped_because}" if stopped_because else ""
        return f"{name} waits because the fleet update {_STOPPED[fleet.state]}.{why} {_AFTERWARDS[fleet.state]}"
    return _why_it_waits(fleet, member)


_STOPPED = {"paused": "is paused", "halted": "is halted", "cancelling": "is being cancelled"}
_AFTERWARDS = {
    "paused": "It goes on when somebody resumes it.",
    "halted": "It goes on when somebody retries or skips what failed.",
    "cancelling": "It will not be updated.",
}


def _why_it_waits(fleet: Fleet, member: Member) -> str:
    name = member.name
    if not member.is_online:
        since = f" since {member.last_seen_at:%Y-%m-%d %H:%M} UTC" if member.last_seen_at else ""
        return f"{name} is offline{since}. It is updated when it returns, or left as it is when this is closed."
    if drains(member.attempt):
        return f"{name} lets a running job end, takes no new one, and is updated after that; meanwhile others go on."
    if member.holds_attempt and member.attempt is not None:
        return f"{name} was busy for too long; the same order is sent to it again. {member.attempt.message}".rstrip()
    if fleet.held_because:
        return f"{name} waits. {fleet.held_because}"
    wave = current_wave(fleet.members)
    if wave is not None and member.wave > wave:
        return _waits_for_wave(fleet, member, wave)
    taken = [one for one in fleet.members if takes_slot(fleet, one)]
    if member.is_busy:
        return f"{name} runs a job. It comes at the end of {wave_words(member.wave)}, after the hosts that are free."
    if taken:
        return (
            f"{name} waits for a free slot: {_names(taken)} {'is' if len(taken) == 1 else 'are'} being updated, "
            f"{fleet.options.max_in_flight} at a time."
        )
    if member.attempt is not None:
        return f"The last order for {name} ended without a verdict; it is tried again in a moment."
    return f"{name} is next."


def _waits_for_wave(fleet: Fleet, member: Member, wave: int) -> str:
    left = [one for one in fleet.members if one.wave == wave and one.state in UNFINISHED]
    waits = f"{member.name} is in {wave_words(member.wave)} and waits for {wave_words(wave)}"
    asleep = [one for one in left if not one.is_online]
    if wave == CANARY_WAVE and left and len(asleep) == len(left):
        return f"{waits}: {_names(asleep)} is offline, and no wave starts before a canary has shown that it works."
    return f"{waits}: {counted(len(left), 'host')} to go ({_names(left)})."


def wave_words(wave: int) -> str:
    """How a wave is called."""
    return "the canaries" if wave == CANARY_WAVE else f"wave {wave}"


def _names(members: Iterable[Member]) -> str:
    names = [member.name for member in members]
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _phase(member: Member) -> str:
    phase = member.attempt.phase if member.attempt else ""
    return f" ({phase})" if phase else ""


def next_sentence(fleet: Fleet, now: datetime) -> str:
    """What happens next in the whole fleet update."""
    if fleet.state in _STOPPED:
        busy = [one for one in fleet.members if one.holds_attempt]
        doing = f"{_names(busy)} may still finish. " if busy else ""
        if fleet.state == "cancelling" and fleet.is_rolling_back:
            held = f"{fleet.held_because} " if fleet.held_because else ""
            return f"{doing}{held}The updated hosts go back one at a time, the newest first; then it ends."
        return doing + _AFTERWARDS_ALL[fleet.state]
    if fleet.state != "running":
        return "Nothing has started." if fleet.state == "planned" else "It is over."
    if fleet.held_because and any(one.state in ("waiting", "passed_over") for one in fleet.members):
        return f"No host starts now. {fleet.held_because}"
    taken = [one for one in fleet.members if takes_slot(fleet, one)]
    waiting = [one for one in fleet.members if one.state in ("waiting", "passed_over") and one.is_online]
    if taken and waiting:
        first = min(waiting, key=lambda one: (one.wave, one.position))
        return f"{first.name} starts when {_names(taken)} {'is' if len(taken) == 1 else 'are'} done."
    if taken:
        return f"It is done when {_names(taken)} {'is' if len(taken) == 1 else 'are'} done."
    left = [one for one in fleet.members if one.state in UNFINISHED]
    if left and all(not one.is_online for one in left):
        return f"{counted(len(left), 'host')} offline: they are updated when they return. Or close it now."
    return "The next host starts in a moment."


_AFTERWARDS_ALL = {
    "paused": "Nothing starts until it is resumed.",
    "halted": "Nothing starts until somebody decides: retry, skip, roll back or cancel.",
    "cancelling": "Then it is cancelled; nothing new starts.",
}
