"""The fleet page: what it shows, and which parts of it change when something happens."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from rm.domain import health
from rm.events import Event, EventBus, JobLogGrew, JobProgressed, ListenerFellBehind
from rm.store import hosts, jobs, repositories
from rm.web import fragments
from rm.web.fragments import Fragment

PAGE_SIZE = 50
NEEDS_SHOWN = 5
NEEDS_READ = 25
URGENCY = {"failed": 0, "late": 1, "offline": 2, "never": 3, "running": 4}
SUMMARY_SECONDS = 1.0
STATUSES = ("problems", "online", "offline")


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

    def rows(self, now: datetime) -> tuple[list[hosts.HostRow], int]:
        return hosts.list_page(
            q=self.q, tag=self.tag, status=self.status, now=now, limit=PAGE_SIZE, offset=(self.page - 1) * PAGE_SIZE
        )


def summary(now: datetime) -> dict[str, Any]:
    """What the page says about the whole fleet; the same for every viewer."""
    counts = hosts.counts(now=now)
    found = hosts.list_page(now=now, status="problems", limit=NEEDS_READ)[0] if counts["problems"] else []
    needs = [row for row in found if row.host.revoked_at is None]
    needs.sort(key=lambda row: URGENCY.get(row.health.code, len(URGENCY)))
    return {
        "counts": counts,
        "lamps": counts,
        "needs": needs[:NEEDS_SHOWN],
        "verdict": health.fleet_verdict(counts, tuple(hosts.list_unprotected(now=now))),
        "jobs": jobs.counts_since(now - timedelta(hours=24)),
        "stored": repositories.totals(),
    }


def values(query: Query, now: datetime) -> dict[str, Any]:
    """Everything the page shows."""
    rows, total = query.rows(now)
    found = summary(now)
    return found | {
        "rows": rows,
        "q": query.q,
        "tag": query.tag,
        "shown_status": query.status,
        "filters": _filters(query, found["counts"]),
        "pager": pager(query, total),
    }


def pager(query: Query, total: int) -> dict[str, str]:
    """The line under the table."""
    first = (query.page - 1) * PAGE_SIZE + 1
    last = min(query.page * PAGE_SIZE, total)
    said = f"{total:,} {'host' if total == 1 else 'hosts'}, problems first"
    if total > PAGE_SIZE:
        said = f"{first:,} to {last:,} of {said}"
    return {
        "said": said,
        "previous": query.url(page=query.page - 1) if query.page > 1 else "",
        "previous_word": "Previous",
        "next": query.url(page=query.page + 1) if last < total else "",
        "next_word": "Next",
    }


def _filters(query: Query, counts: dict[str, int]) -> list[dict[str, Any]]:
    bare = not query.tag and not query.status
    found = [{"label": "All", "count": counts["all"], "href": query.url(tag="", status="", page=1), "is_current": bare}]
    for status in STATUSES:
        is_current = query.status == status
        if counts[status] or is_current:
            href = query.url(status="" if is_current else status, page=1)
            found.append(
                {"label": status.capitalize(), "count": counts[status], "href": href, "is_current": is_current}
            )
    for tag, count in hosts.list_tags()[:12]:
        is_current = query.tag == tag
        href = query.url(tag="" if is_current else tag, page=1)
        found.append({"label": tag, "count": count, "href": href, "is_current": is_current})
    return found


class SharedParts:
    """What all viewers of the fleet see alike, rendered once per change: host rows, and the summary each second."""

    MOST_ROWS = 5000

    def __init__(self, app: Flask, bus: EventBus) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._rows: OrderedDict[str, tuple[str, Fragment]] = OrderedDict()
        self._epoch = 0
        self._stamps: dict[str, int] = {}
        self._summary: tuple[float, list[Fragment]] | None = None
        bus.on_event(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, JobLogGrew):
            return
        host_id = getattr(event, "host_id", None)
        with self._lock:
            if host_id is None:
                self._epoch += 1
            else:
                self._stamps[host_id] = self._stamps.get(host_id, 0) + 1

    def _stamp(self, host_id: str, now: datetime) -> str:
        # the time is part of it: a host turns late or offline without anything happening
        return f"{self._epoch}.{self._stamps.get(host_id, 0)}.{now.timestamp() // 30:.0f}"

    def rows(self, host_ids: Iterable[str], now: datetime) -> list[Fragment]:
        """The rows of these hosts; hosts that are gone are left out."""
        found: list[Fragment] = []
        missing: list[tuple[str, str]] = []
        with self._lock:
            for host_id in host_ids:
                stamp = self._stamp(host_id, now)
                kept = self._rows.get(host_id)
                if kept is not None and kept[0] == stamp:
                    found.append(kept[1])
                else:
                    missing.append((host_id, stamp))
        present = hosts.list_by_ids(host_id for host_id, _ in missing) if missing else []
        fresh = {row.host.id: row for row in hosts.rows(present, now=now)} if present else {}
        for host_id, stamp in missing:
            if host_id in fresh:
                fragment = row_fragment(self._app, fresh[host_id], now)
                found.append(fragment)
                self._keep(host_id, stamp, fragment)
        return found

    def _keep(self, host_id: str, stamp: str, fragment: Fragment) -> None:
        with self._lock:
            self._rows[host_id] = (stamp, fragment)
            self._rows.move_to_end(host_id)
            while len(self._rows) > self.MOST_ROWS:
                self._rows.popitem(last=False)

    def summary(self, now: datetime) -> list[Fragment]:
        """Verdict, problems, readouts and lamps, at most a second old."""
        kept = self._summary
        if kept is not None and time.monotonic() - kept[0] < SUMMARY_SECONDS / 2:
            return kept[1]
        found = summary(now)
        parts = [
            fragments.render(self._app, template, found, target=target)
            for template, target in (
                ("hosts/_fleet_verdict.html", "#verdict"),
                ("hosts/_needs.html", "#needs"),
                ("hosts/_readouts.html", "#readouts"),
                ("shared/_lamps.html", "#lamps"),
            )
        ]
        self._summary = (time.monotonic(), parts)
        return parts


def row_fragment(app: Flask, row: hosts.HostRow, now: datetime) -> Fragment:
    return fragments.render(app, "hosts/_row.html", {"row": row, "now": now}, target=f"#host-{row.host.id}")


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
        self._summary_at, self.is_behind = time.monotonic(), False
        return [*self._shared.summary(now), *self._table(now)]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the page; the summary follows at most once a second."""
        events = list(events)
        if any(isinstance(event, ListenerFellBehind) for event in events):
            return self.everything(now)
        touched = {event.host_id for event in events if hasattr(event, "host_id") and not isinstance(event, JobLogGrew)}
        if any(not isinstance(event, (JobProgressed, JobLogGrew)) for event in events):
            self.is_behind = True
        shown = [host_id for host_id in self._ids if host_id in touched]
        found = self._shared.rows(shown, now) if shown else []
        if self.is_behind and time.monotonic() - self._summary_at >= SUMMARY_SECONDS:
            found += self.everything(now)
        return found

    def _table(self, now: datetime) -> list[Fragment]:
        rows, total = self._query.rows(now)
        ids = [row.host.id for row in rows]
        if ids == self._ids and ids:
            return self._shared.rows(ids, now)
        self._ids = ids
        table = fragments.render(self._app, "hosts/_table.html", {"rows": rows, "now": now}, target="#hosts")
        foot = fragments.render(self._app, "shared/_pager.html", {"pager": pager(self._query, total)}, target="#pager")
        if not total:
            return [table, foot]
        arrived = fragments.render(self._app, "hosts/_first_arrived.html", {}, target="#first-host")
        return [table, foot, arrived]
