"""The page that waits for a new host: what it shows, and when it turns green."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Flask

from rm.events import EnrolmentTokenRevoked, Event, HostChanged, HostEnrolled, ListenerFellBehind
from rm.store import enrolments
from rm.store.models import EnrolmentToken, Host
from rm.web import fragments
from rm.web.fragments import Fragment


@dataclass(frozen=True)
class Waiting:
    """`state` is waiting, enrolled, connected or over."""

    state: str
    host: Host | None = None
    said: str = ""
    more: str = ""
    since: datetime | None = None


def values(token: EnrolmentToken, *, base_url: str, now: datetime) -> dict[str, Any]:
    """What the page shows of a token, but never the token itself."""
    found = waiting(token, now)
    return {"token": token, "waiting": found, "base_url": base_url, "step": 2 if found.state == "connected" else 1}


def waiting(token: EnrolmentToken, now: datetime) -> Waiting:
    """How far the enrolment with this token is."""
    let_in = enrolments.hosts_of_token(token.id)
    if let_in:
        host = let_in[0]
        state = "connected" if _has_connected(token, host) else "enrolled"
        return Waiting(state, host, since=enrolments.enrolled_at(token.id, host.id))
    if token.revoked_at is not None:
        return Waiting("over", said="This token was revoked", more="It lets nobody in any more.")
    if token.expires_at <= now:
        return Waiting(
            "over",
            said="No host came before the token lapsed",
            more="Nothing is left behind. Make a new line and try again.",
        )
    if token.uses >= token.max_uses:
        return Waiting("over", said="The token is used up", more="The host it let in was removed since.")
    return Waiting("waiting")


def _has_connected(token: EnrolmentToken, host: Host) -> bool:
    if token.host_id is None:
        return host.first_hello_at is not None
    # This one has connected in its earlier life; what counts is a hello with the new credential.
    since = enrolments.enrolled_at(token.id, host.id)
    return since is not None and enrolments.has_connected_since(host.id, since=since)


class EnrolmentView:
    """One open page that waits."""

    def __init__(self, app: Flask, token_id: str, *, base_url: str) -> None:
        self._app = app
        self._token_id = token_id
        self._base_url = base_url
        self._host_ids: set[str] = set()
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The parts that change, as they are now; raises NotFound."""
        token = enrolments.get_token(self._token_id)
        found = values(token, base_url=self._base_url, now=now)
        self._host_ids = {host.id for host in enrolments.hosts_of_token(self._token_id)}
        return [
            fragments.render(self._app, "hosts/_waiting.html", found, target="#waiting"),
            fragments.render(self._app, "hosts/_wizard.html", found, target="#wizard"),
        ]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """Both parts again, if one of our hosts is concerned."""
        return self.everything(now) if any(self._is_mine(event) for event in events) else []

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, HostEnrolled | EnrolmentTokenRevoked):
            return event.token_id == self._token_id
        return isinstance(event, ListenerFellBehind) or (
            isinstance(event, HostChanged) and event.host_id in self._host_ids
        )
