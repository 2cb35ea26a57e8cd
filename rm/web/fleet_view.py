"""The fleet page: what it shows, and which parts of it change when something happens."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask, current_app

from rm.events import (
    AlertsChanged,
    Event,
    EventBus,
    FleetUpdateChanged,
    HostSeen,
    JobLogGrew,
    ListenerFellBehind,
    PendingHostsChanged,
)
from rm.shared.words import counted
from rm.store import host_list, hosts
from rm.web import fleet_summary, fragments, update_view
from rm.web.fleet_summary import UNCOUNTED
from rm.web.fragments import Fragment

PAGE_SIZE = 50
SUMMARY_SECONDS = 1.0
ROW_SECONDS = 10
TAGS_SHOWN = 12
# They change nothing that a row shows: a host that turns silent does so by time, one that is back says hello.
UNSEEN = (HostSeen, JobLogGrew, PendingHostsChanged, AlertsChanged, FleetUpdateChanged)
STATUSES = {
    "problems": "Not protected", "protected": "Protected", "offline": "Offline", "online": "Online",
    "behind": "Behind", "revoked": "Revoked",
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """Which hosts a tab shows."""

    q: str = ""
    tag: str = ""
    status: str = ""
    page: int = 1

    def url(self, path: str = "/", **changes: Any) -> str:
        """The address of this list with some of it changed."""
        values = {"q": self.q, "tag": self.tag, "status": self.status, "page": self.page} | changes
        kept = {key: value for key, value in values.items() if value and (key, value) != ("page", 1)}
        return f"{path}?{urlencode(kept)}" if kept else path

    @property
    def is_narrowed(self) -> bool:
        return bool(self.q or self.tag or self.status)

    def ids(self, now: datetime) -> tuple[list[str], int]:
        """The hosts of this page in their order, and how many there are in all."""
        return host_list.list_ids(
            q=self.q, tag=self.tag, status=self.status, now=now, limit=PAGE_SIZE, offset=(self.page - 1) * PAGE_SIZE
        )


def values(query: Query, now: datetime) -> dict[str, Any]:
    """Everything the page shows."""
    ids, total = query.ids(now)
    found = fleet_summary.shared().values(now)
    return found | {
        "rows": shared_parts().rows(ids, now),
        "q": query.q,
        "tag": query.tag,
        "shown_status": query.status,
        "filters": _filters(query, found["counts"], found["tags"]),
        "pager": pager(query, total),
    }


def pager(query: Query, total: int) -> dict[str, str]:
    """The line under the table."""
    first = (query.page - 1) * PAGE_SIZE + 1
    last = min(query.page * PAGE_SIZE, total)
    said = f"{counted(total, 'host')}, problems first"
    if total > PAGE_SIZE:
        said = f"{first:,} to {last:,} of {said}"
    return {
        "said": said,
        "previous": query.url(page=query.page - 1) if query.page > 1 else "",
        "previous_word": "Previous",
        "next": query.url(page=query.page + 1) if last < total else "",
        "next_word": "Next",
    }


def _filters(query: Query, counts: dict[str, int], tags: list[tuple[str, int]]) -> list[dict[str, Any]]:
    everyone = counts["all"] + counts["revoked"]
    found: list[dict[str, Any]] = [{
        "label": "All", "count": everyone, "href": query.url(tag="", status="", page=1),
        "is_current": not query.tag and not query.status,
    }]  # fmt: skip
    for status, word in STATUSES.items():
        is_current = query.status == status
        # a filter that would leave all or nothing is no choice
        if 0 < counts[status] < everyone or is_current:
            href = query.url(status="" if is_current else status, page=1)
            found.append({"label": word, "count": counts[status], "href": href, "is_current": is_current})
    shown = tags[:TAGS_SHOWN]
    if query.tag and query.tag not in dict(shown):
        shown = [*shown, (query.tag, dict(tags).get(query.tag, 0))]
    for tag, count in shown:
        is_current = query.tag == tag
        href = query.url(tag="" if is_current else tag, page=1)
        found.append({"label": tag, "count": count, "href": href, "is_current": is_current})
    return found


class SharedParts:
    """What all viewers of the fleet see alike, rendered once per change: host rows, and the summary each second.

    `row_seconds` is how old a row may be that nothing has happened to; with 0 none is kept.
    """

    MOST_ROWS = 5000
    MOST_PAGES = 200

    def __init__(self, app: Flask, bus: EventBus) -> None:
        self._app = app
        self.row_seconds = ROW_SECONDS
        self._lock = threading.Lock()
        self._rows: OrderedDict[str, tuple[str, Fragment]] = OrderedDict()
        self._epoch = 0
        self._stamps: dict[str, int] = {}
        self._summary: tuple[dict[str, Any], list[Fragment]] | None = None
        self._pages: OrderedDict[Query, tuple[float, int, list[str], int]] = OrderedDict()
        bus.on_event(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, UNSEEN):
            return
        host_id = getattr(event, "host_id", None)
        with self._lock:
            if host_id is None:
                self._epoch += 1
            else:
                self._stamps[host_id] = self._stamps.get(host_id, 0) + 1

    def _stamp(self, host_id: str, now: datetime) -> str:
        # the time is part of it: a host turns late or offline without anything happening
        return f"{self._epoch}.{self._stamps.get(host_id, 0)}.{now.timestamp() // (self.row_seconds or 1):.0f}"

    def rows(self, host_ids: Iterable[str], now: datetime) -> list[Fragment]:
        """The rows of these hosts in their order; hosts that are gone are left out."""
        found: dict[str, Fragment | None] = {}
        missing: list[tuple[str, str]] = []
        with self._lock:
            for host_id in host_ids:
                stamp = self._stamp(host_id, now)
                kept = self._rows.get(host_id)
                found[host_id] = kept[1] if kept is not None and kept[0] == stamp and self.row_seconds else None
                if found[host_id] is None:
                    missing.append((host_id, stamp))
        if missing:
            self._render(missing, found, now)
        return [fragment for fragment in found.values() if fragment is not None]

    def _render(self, missing: list[tuple[str, str]], found: dict[str, Fragment | None], now: datetime) -> None:
        rows = hosts.rows_of([host_id for host_id, _ in missing], now=now)
        chips = update_view.chips([row.host for row in rows])
        for row in rows:
            found[row.host.id] = row_fragment(self._app, row, chips[row.host.id], now)
        for host_id, stamp in missing:
            fragment = found[host_id]
            if fragment is not None:
                self._keep(host_id, stamp, fragment)

    def _keep(self, host_id: str, stamp: str, fragment: Fragment) -> None:
        with self._lock:
            self._rows[host_id] = (stamp, fragment)
            self._rows.move_to_end(host_id)
            while len(self._rows) > self.MOST_ROWS:
                self._rows.popitem(last=False)

    def summary(self, now: datetime) -> list[Fragment]:
        """Verdict, problems, readouts and lamps."""
        found = fleet_summary.shared(self._app).values(now)
        if self._summary is not None and self._summary[0] is found:
            return self._summary[1]
        parts = [
            fragments.render(self._app, template, found, target=target)
            for template, target in (
                ("hosts/_fleet_verdict.html", "#verdict"),
                ("hosts/_needs.html", "#needs"),
                ("hosts/_readouts.html", "#readouts"),
                ("shared/_lamps.html", "#lamps"),
                ("alerts/_badge.html", "#alert-badge"),
            )
        ]
        self._summary = (found, parts)
        return parts

    def ids(self, query: Query, now: datetime) -> tuple[list[str], int]:
        """Which hosts a page shows, at most half a second old: most tabs show the same page."""
        at, changes = time.monotonic(), fleet_summary.shared(self._app).changes
        kept = self._pages.get(query)
        if kept is not None and at - kept[0] < SUMMARY_SECONDS / 2:
            return kept[2], kept[3]
        ids, total = query.ids(now)
        self._pages[query] = (at, changes, ids, total)
        self._pages.move_to_end(query)
        while len(self._pages) > self.MOST_PAGES:
            self._pages.popitem(last=False)
        return ids, total

    def is_outdated(self, query: Query) -> bool:
        """Whether something happened that the kept summary, or the kept page of this query, does not tell."""
        summary, kept = fleet_summary.shared(self._app), self._pages.get(query)
        return summary.is_outdated or (kept is not None and kept[1] != summary.changes)


def shared_parts() -> SharedParts:
    """Those of the application that answers now."""
    parts: SharedParts = current_app.extensions["rm_shared_parts"]
    return parts


def row_fragment(app: Flask, row: hosts.HostRow, chip: update_view.Chip, now: datetime) -> Fragment:
    values = {"row": row, "chip": chip, "now": now}
    return fragments.render(app, "hosts/_row.html", values, target=f"#host-{row.host.id}")


class FleetView:
    """One open fleet page."""

    def __init__(self, app: Flask, shared: SharedParts, query: Query) -> None:
        self._app = app
        self._shared = shared
        self._query = query
        self._ids: list[str] = []
        self._summary_at = 0.0
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole page as it is now."""
        self._summary_at = time.monotonic()
        found = [*self._shared.summary(now), *self._table(now)]
        # What another tab has just read may be older than the event that this one was to tell.
        self.is_behind = self._shared.is_outdated(self._query)
        return found

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the page; the summary follows at most once a second."""
        events = list(events)
        if any(isinstance(event, ListenerFellBehind) for event in events):
            return self.everything(now)
        touched = {event.host_id for event in events if hasattr(event, "host_id") and not isinstance(event, UNSEEN)}
        if any(not isinstance(event, UNCOUNTED) for event in events):
            self.is_behind = True
        shown = [host_id for host_id in self._ids if host_id in touched]
        found = self._shared.rows(shown, now) if shown else []
        if self.is_behind and time.monotonic() - self._summary_at >= SUMMARY_SECONDS:
            found += self.everything(now)
        return found

    def _table(self, now: datetime) -> list[Fragment]:
        ids, total = self._shared.ids(self._query, now)
        if ids == self._ids and ids:
            return self._shared.rows(ids, now)
        self._ids = ids
        values = {
            "rows": self._shared.rows(ids, now), "q": self._query.q, "is_narrowed": self._query.is_narrowed,
        }  # fmt: skip
        table = fragments.render(self._app, "hosts/_table.html", values, target="#hosts")
        foot = fragments.render(self._app, "shared/_pager.html", {"pager": pager(self._query, total)}, target="#pager")
        if not total:
            return [table, foot]
        arrived = fragments.render(self._app, "hosts/_first_arrived.html", {}, target="#first-host")
        return [table, foot, arrived]
