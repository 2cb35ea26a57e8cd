"""Audit entries of refused tries, bounded: a flood of guesses must not fill the disk, nor hide among itself."""

from datetime import datetime
from typing import Any

from rm.domain.actors import SERVER, Actor
from rm.domain.limits import REFUSALS_LISTED
from rm.errors import TooMany
from rm.services import audit
from rm.services.tries import Tries
from rm.store.database import changes


def record(limits: Tries, actor: Actor, action: str, *, now: datetime, **payload: Any) -> None:
    """Write one refused try down, or only count it when there were many of its kind within the hour.

    What is only counted is summed up in an entry of its own at 1, 10, 100, ..., and in the next entry that is written.
    Tries against accounts and tries with unknown names (an actor without id) are bounded apart.
    """
    what = f"{action}/{'known' if actor.id else 'unknown'}"
    try:
        limits.take("refusals", what, REFUSALS_LISTED, now)
    except TooMany:
        count = limits.leave_out(what)
        if str(count).strip("0") == "1":
            with changes():
                audit.record(SERVER, "user.refusals_counted", now=now, kind="action", name=action, count=count)
        return
    left_out = limits.take_left_out(what)
    if left_out:
        payload["not_listed_before"] = left_out
    with changes():
        audit.record(
            actor, action, now=now, kind="user" if actor.id else "", id=actor.id, name=actor.name if actor.id else "",
            **payload,
        )  # fmt: skip
