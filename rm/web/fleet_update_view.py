"""A fleet update's page: what it shows, and which parts of it change when something happens."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import Flask

from rm.events import Event, FleetUpdateChanged, HostChanged, HostRemoved, ListenerFellBehind, UpdateChanged
from rm.shared.words import counted
from rm.store import update_pages
from rm.store.models import FleetUpdate
from rm.web import fleet_summary, fleet_update_questions, fragments
from rm.web.fleet_update_reading import Fleets, Query, Reading, event, group_of
from rm.web.fragments import Fragment

EVENTS_PER_PAGE = 100
SUMMARY_SECONDS = 1.0


def values(app: Flask, query: Query, *, role: str, now: datetime) -> dict[str, Any]:
    """Everything the page shows; raises NotFound."""
    found = Reading(app, query, role=role, now=now)
    rows, total = found.table()
    return found.summary() | {
        "groups": found.groups(rows),
        "pager": found.pager(total),
        "q": query.q,
        "group": query.group,
        "dialogs": fleet_update_questions.dialogs(found.update, found.counts, found.fleet) if found.may_act else [],
    }


def event_values(update: FleetUpdate, *, page: int) -> dict[str, Any]:
    """A page of all that happened."""
    path, total = f"/settings/fleet-update/{update.id}", update_pages.count_events(update.id)
    found = update_pages.list_events(update.id, limit=EVENTS_PER_PAGE, offset=(page - 1) * EVENTS_PER_PAGE)
    return {
        "update": update,
        "path": path,
        "events": [event(one) for one in found],
        "pager": {
            "said": f"{counted(total, 'event')}, newest first",
            "previous": f"{path}/events?page={page - 1}" if page > 1 else "",
            "previous_word": "Newer",
            "next": f"{path}/events?page={page + 1}" if page * EVENTS_PER_PAGE < total else "",
            "next_word": "Older",
        },
    }


class FleetUpdateView:
    """One open page of a fleet update."""

    _SUMMARY = (
        ("fleet_updates/_head.html", "#fleet-update-head"),
        ("fleet_updates/_state.html", "#fleet-update-state"),
        ("fleet_updates/_why.html", "#fleet-update-why"),
        ("fleet_updates/_decide.html", "#fleet-update-decide"),
        ("fleet_updates/_progress.html", "#fleet-update-progress"),
        ("fleet_updates/_filters.html", "#fleet-update-filters"),
        ("fleet_updates/_events.html", "#fleet-update-events"),
        ("shared/_lamps.html", "#lamps"),
    )

    def __init__(self, app: Flask, query: Query, *, role: str) -> None:
        self._app = app
        self._query = query
        self._role = role
        self._fleets: Fleets = app.extensions["rm_fleets"]
        self._shown: list[tuple[str, str]] = []
        self._moving: set[str] = set()
        self._read_at = 0.0
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole page as it is now; raises NotFound."""
        self._read_at, self.is_behind = time.monotonic(), False
        found = Reading(self._app, self._query, role=self._role, now=now, fleets=self._fleets)
        self._moving = {one.host_id for one in found.fleet.members if one.state in ("updating", "soaking")}
        values = found.summary() | {"lamps": fleet_summary.shared(self._app).lamps(now)}
        parts = [fragments.render(self._app, template, values, target=target) for template, target in self._SUMMARY]
        return [*parts, *self._table(found)]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the page: at most once a second, because one host concerns the whole."""
        self.is_behind = self.is_behind or any(self._is_mine(event) for event in events)
        if not self.is_behind or time.monotonic() - self._read_at < SUMMARY_SECONDS:
            return []
        return self.everything(now)

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, FleetUpdateChanged):
            return event.fleet_update_id == self._query.fleet_update_id
        if isinstance(event, (UpdateChanged, HostChanged)):
            return event.host_id in self._moving or any(host_id == event.host_id for host_id, _ in self._shown)
        return isinstance(event, (ListenerFellBehind, HostRemoved))

    def _table(self, found: Reading) -> list[Fragment]:
        rows, total = found.table()
        shown = [(row.host_id, group_of(row.state)) for row in rows]
        if shown == self._shown and shown:
            return found.row_fragments(rows)
        self._shown = shown
        values = {"groups": found.groups(rows), "path": self._query.path}
        return [
            fragments.render(self._app, "fleet_updates/_hosts.html", values, target="#fleet-update-hosts"),
            fragments.render(self._app, "shared/_pager.html", {"pager": found.pager(total)}, target="#pager"),
        ]
