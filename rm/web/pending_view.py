"""Hosts that announced themselves, as pages show them: where each stands, and who else looks like it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Flask

from rm.domain import permissions
from rm.events import Event, HostChanged, ListenerFellBehind, PendingHostsChanged
from rm.store import hosts, pending_hosts
from rm.store.models import Host, PendingHost
from rm.store.pending_hosts import Resemblance
from rm.web import fragments
from rm.web.fragments import Fragment

PAGE_SIZE = 50
STATES = {
    "waiting": ("waiting", "Waiting for a decision"),
    "approved": ("running", "Approved, about to come in"),
    "enrolled": ("running", "Enrolled, about to connect"),
    "connected": ("ok", "In the fleet"),
    "rejected": ("skip", "Rejected"),
    "lapsed": ("warning", "Lapsed"),
    "removed": ("skip", "Came in, removed since"),
}


@dataclass(frozen=True)
class PendingRow:
    """One announced host; `state` is a key of STATES."""

    pending: PendingHost
    state: str
    host: Host | None
    like: Resemblance

    @property
    def icon(self) -> str:
        return STATES[self.state][0]

    @property
    def word(self) -> str:
        return STATES[self.state][1]

    @property
    def is_open(self) -> bool:
        """Whether a decision can still be made or taken back."""
        return self.state in ("waiting", "approved")


def row(found: PendingHost, now: datetime) -> PendingRow:
    host = hosts.find(found.host_id) if found.host_id else None
    return PendingRow(found, _state(found, host, now), host, pending_hosts.resemblance(found, now=now))


def _state(found: PendingHost, host: Host | None, now: datetime) -> str:
    state = pending_hosts.state(found, now=now)
    if state != "claimed":
        return state
    return "removed" if host is None else "connected" if host.first_hello_at else "enrolled"


def summary(now: datetime, *, shown: int) -> dict[str, Any]:
    """The first of those that wait, and how many there are."""
    waiting = pending_hosts.waiting(now)
    return {"pending": [row(found, now) for found in waiting[:shown]], "pending_count": len(waiting)}


def list_values(*, page: int, now: datetime) -> dict[str, Any]:
    """What one page of the list shows: those that wait, and what became of the others."""
    found = pending_hosts.list_page(now=now, limit=PAGE_SIZE + 1, offset=(page - 1) * PAGE_SIZE)
    pager = {
        "said": f"{pending_hosts.count_waiting(now)} waiting; decided and lapsed ones are kept for 30 days",
        "previous": f"/pending-hosts?page={page - 1}" if page > 1 else "",
        "previous_word": "Newer",
        "next": f"/pending-hosts?page={page + 1}" if len(found) > PAGE_SIZE else "",
        "next_word": "Older",
    }
    return {"rows": [row(one, now) for one in found[:PAGE_SIZE]], "pager": pager}


def values(pending_id: str, *, role: str, now: datetime) -> dict[str, Any]:
    """What the page of one announced host shows; raises NotFound."""
    found = row(pending_hosts.get(pending_id), now)
    return {"row": found, "may_approve": permissions.is_allowed(role, "hosts.approve")}


class PendingListView:
    """One open list of announced hosts."""

    def __init__(self, app: Flask, *, page: int) -> None:
        self._app = app
        self._page = page
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        found = list_values(page=self._page, now=now)
        return [fragments.render(self._app, "pending_hosts/_list.html", found, target="#pending-hosts")]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        # a host that came in says hello some time after its announcement changed
        kinds = (PendingHostsChanged, HostChanged, ListenerFellBehind)
        return self.everything(now) if any(isinstance(event, kinds) for event in events) else []


class PendingView:
    """One open page that decides or waits."""

    def __init__(self, app: Flask, pending_id: str, *, role: str) -> None:
        self._app = app
        self._pending_id = pending_id
        self._role = role
        self._host_id: str | None = None
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The part that changes, as it is now; raises NotFound."""
        found = values(self._pending_id, role=self._role, now=now)
        self._host_id = found["row"].pending.host_id
        return [fragments.render(self._app, "pending_hosts/_decision.html", found, target="#decision")]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        return self.everything(now) if any(self._is_mine(event) for event in events) else []

    def _is_mine(self, event: Event) -> bool:
        # Any announcement may be a namesake of this one.
        if isinstance(event, PendingHostsChanged | ListenerFellBehind):
            return True
        return isinstance(event, HostChanged) and event.host_id == self._host_id
