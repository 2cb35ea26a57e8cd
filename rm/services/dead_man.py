"""The outgoing sign of life: where it goes, how often, and how the last one went."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rm.domain.actors import Actor
from rm.errors import Conflict, Invalid
from rm.notifiers import dead_man, outgoing
from rm.notifiers.outcome import Outcome, failed
from rm.services import audit
from rm.shared.instants import from_text, to_text
from rm.store import kept_settings
from rm.store.database import changes
from rm.store.vault import UnsealError, Vault

WANTED, LAST = "dead_man", "dead_man.last"
PLACE = "settings.dead_man.url"
MINUTES = 5
MOST_MINUTES = 24 * 60


@dataclass(frozen=True)
class DeadMan:
    """What is set, and the last ping; an empty `url_shown`: none is sent."""

    url_shown: str = ""
    minutes: int = MINUTES
    last_at: datetime | None = None
    last_ok: bool = False
    last_reason: str = ""

    def is_due(self, now: datetime) -> bool:
        if not self.url_shown:
            return False
        return self.last_at is None or not timedelta(0) <= now - self.last_at < timedelta(minutes=self.minutes)


def read() -> DeadMan:
    wanted: dict[str, Any] = kept_settings.get(WANTED, {})
    last: dict[str, Any] = kept_settings.get(LAST, {})
    return DeadMan(
        url_shown=wanted.get("url_shown", ""), minutes=wanted.get("minutes", MINUTES),
        last_at=from_text(last["at"]) if last else None, last_ok=last.get("is_ok", False),
        last_reason=last.get("reason", ""),
    )  # fmt: skip


def save(vault: Vault, *, url: str, minutes: str, actor: Actor, now: datetime) -> DeadMan:
    """Set where the sign of life goes; a blank URL keeps the stored one. Raises Invalid."""
    with changes():
        before, url = read(), url.strip()
        wrong = {}
        number = int(minutes) if minutes.strip().isascii() and minutes.strip().isdecimal() else 0
        if not 1 <= number <= MOST_MINUTES:
            wrong["minutes"] = f"Use a whole number of minutes from 1 to {MOST_MINUTES:,}."
        problem = outgoing.url_problem(url) if url else None
        if problem:
            wrong["ping_url"] = problem
        elif not url and not before.url_shown:
            wrong["ping_url"] = "Say which URL is to be called."
        if wrong:
            raise Invalid(wrong)
        stored = kept_settings.get(WANTED, {})
        if url:
            stored = {
                "url_shown": outgoing.shown(url),
                "url_sealed": base64.b64encode(vault.seal(url, place=PLACE)).decode(),
            }
        kept_settings.put(WANTED, stored | {"minutes": number})
        kept_settings.put(LAST, {})
        after = read()
        _record(actor, before, after, now, url_replaced=bool(url))
        return after


def remove(*, actor: Actor, now: datetime) -> None:
    """Send none any more."""
    with changes():
        before = read()
        if not before.url_shown:
            return
        kept_settings.put(WANTED, {})
        kept_settings.put(LAST, {})
        _record(actor, before, read(), now, url_replaced=True)


def url_to_ping(vault: Vault) -> str | None:
    """The URL to call; None when none is set, or the key file does not open it."""
    sealed = kept_settings.get(WANTED, {}).get("url_sealed")
    try:
        return vault.unseal(base64.b64decode(sealed), place=PLACE) if sealed else None
    except UnsealError:
        return None


def ping(url: str | None) -> Outcome:
    """Call it and say how it went; no transaction, no connection."""
    return dead_man.ping(url) if url else failed("its stored URL cannot be opened with this server's key file")


def keep(outcome: Outcome, *, now: datetime) -> None:
    """Keep how a ping went."""
    with changes():
        kept_settings.put(LAST, {"at": to_text(now), "is_ok": outcome.is_ok, "reason": outcome.reason})


def ping_now(vault: Vault, *, actor: Actor, clock: Callable[[], datetime]) -> Outcome:
    """Send one because a person asked for it, and say how it went. Raises Conflict while none is set."""
    wanted = read()
    if not wanted.url_shown:
        raise Conflict("No sign of life is set.", code="not_set", help="Say first which URL is to be called.")
    outcome = ping(url_to_ping(vault))
    with changes():
        now = clock()
        keep(outcome, now=now)
        audit.record(
            actor, "sign_of_life.sent", now=now, kind="settings", id=WANTED, name="Sign of life",
            url=wanted.url_shown, is_ok=outcome.is_ok, reason=outcome.reason,
        )  # fmt: skip
    return outcome


def _record(actor: Actor, before: DeadMan, after: DeadMan, now: datetime, *, url_replaced: bool) -> None:
    audit.record(
        actor, "settings.changed", now=now, kind="settings", id=WANTED, name="Sign of life",
        before={"url": before.url_shown, "minutes": before.minutes},
        after={"url": after.url_shown, "minutes": after.minutes}, url_replaced=url_replaced,
    )  # fmt: skip
