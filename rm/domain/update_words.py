"""What to say of an attempt: what is so, since when, until when, and what comes next."""

from dataclasses import dataclass
from datetime import datetime

from rm.domain.update_attempt import BEFORE_SWAP, ENDED, Attempt


@dataclass(frozen=True)
class Standing:
    """`now` is what is so, `next` what follows by itself, `said` the last that the host or the server said."""

    now: str
    since: datetime
    deadline: datetime | None
    next: str
    said: str


def standing(attempt: Attempt) -> Standing:
    """Where an attempt stands, in sentences for people."""
    since = attempt.phase_since or attempt.created_at
    if attempt.state in ENDED:
        since = attempt.ended_at or since
    elif attempt.cancel_requested_at is not None and attempt.fenced_at is None:
        since = attempt.cancel_requested_at
    said = attempt.message if attempt.state in ENDED or attempt.state == "deferred" else attempt.detail
    return Standing(_now(attempt), since, attempt.deadline_at, _next(attempt), said)


def _now(attempt: Attempt) -> str:
    name, new, old = attempt.host_name, attempt.to_version, attempt.from_version
    if attempt.state in ENDED:
        return {
            "succeeded": f"{name} runs {new}.",
            "failed": f"{name} did not come to run {new}{', as far as is known' if attempt.is_provisional else ''}.",
            "rolled_back": f"{name} returned from {new} to {old}.",
            "refused": f"{name} refused {new}.",
            "cancelled": f"The update of {name} to {new} was given up.",
            "lost": f"Nobody knows how the update of {name} to {new} ended.",
        }[attempt.state]
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None:
        return f"The update of {name} is being cancelled."
    return {
        "queued": f"The order for {name} waits to be sent.",
        "dispatched": f"The order was sent to {name}.",
        "running": f"{name} is in the phase {attempt.phase}.",
        "soaking": f"{name} runs {new} and must stay healthy.",
        "deferred": f"{name} put the update off.",
    }[attempt.state]


def _next(attempt: Attempt) -> str:
    name, new, old = attempt.host_name, attempt.to_version, attempt.from_version
    if attempt.state in ENDED:
        return "If the host reports something else, this is corrected." if attempt.is_provisional else ""
    if attempt.cancel_requested_at is not None and attempt.fenced_at is None:
        return f"{name} gives it up; without an answer by the deadline it is over all the same, for it cannot swap."
    if attempt.state == "queued":
        return f"It is sent as soon as {name} is connected. If that is not so by the deadline, it is given up."
    if attempt.state == "deferred":
        return "Its fleet update tries it again." if attempt.is_in_fleet else "It is tried again at the deadline."
    if attempt.state == "dispatched":
        return f"{name} takes the order. Without a sign by the deadline the update counts as failed, for now."
    if attempt.state == "soaking":
        return f"If all stays well, {new} is kept. Otherwise {name} returns to {old} by itself."
    if attempt.fenced_at is not None and attempt.phase not in BEFORE_SWAP:
        return f"{new} starts and says hello. If it does not, {name} returns to {old} by itself."
    return f"{name} goes on to the swap, which it asks leave for. Silence until the deadline counts as failed, for now."
