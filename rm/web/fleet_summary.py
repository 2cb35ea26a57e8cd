"""What is said about the whole fleet: the same for every viewer, and so read once for all of them."""

import time
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app

from rm.domain import health
from rm.events import Event, EventBus, HostSeen, JobLogGrew, JobProgressed
from rm.store import hosts, jobs, repositories
from rm.web import alert_view, pending_view

NEEDS_SHOWN = 5
NEEDS_READ = 25
URGENCY = {"failed": 0, "late": 1, "offline": 2, "never": 3, "running": 4}
# They change one row, and nothing that is counted.
UNCOUNTED = (HostSeen, JobProgressed, JobLogGrew)


def summary(now: datetime) -> dict[str, Any]:
    """Counts, the verdict, what needs somebody, jobs of the last day, what is stored, and the tags in use."""
    counts = hosts.counts(now=now)
    needs = hosts.list_page(now=now, status="problems", limit=NEEDS_READ)[0] if counts["problems"] else []
    needs.sort(key=lambda row: URGENCY.get(row.health.code, len(URGENCY)))
    return {
        "counts": counts,
        "lamps": counts,
        "needs": needs[:NEEDS_SHOWN],
        "verdict": health.fleet_verdict(counts, tuple(hosts.list_unprotected(now=now))),
        "jobs": jobs.counts_since(now - timedelta(hours=24)),
        "stored": repositories.totals(),
        "tags": hosts.list_tags(),
        **pending_view.summary(now, shown=NEEDS_SHOWN),
        **alert_view.summary(shown=NEEDS_SHOWN),
    }


class FleetSummary:
    """Keeps the summary until something happened, and never longer than `most_seconds`: time alone makes hosts late.

    `least_seconds` bounds the work when hundreds of hosts report at once.
    """

    def __init__(self, bus: EventBus, *, least_seconds: float = 0.25, most_seconds: float = 5.0) -> None:
        self.least_seconds = least_seconds
        self.most_seconds = most_seconds
        self._changes = 0
        self._kept: tuple[int, float, dict[str, Any]] | None = None
        bus.on_event(self._note)

    def _note(self, event: Event) -> None:
        if not isinstance(event, UNCOUNTED):
            self._changes += 1

    def values(self, now: datetime) -> dict[str, Any]:
        """The summary; needs an open connection."""
        kept = self._fresh()
        if kept is not None:
            return kept
        changes, at = self._changes, time.monotonic()
        found = summary(now)
        self._kept = (changes, at, found)
        return found

    def lamps(self, now: datetime) -> dict[str, int]:
        """The counts alone, which every page shows."""
        kept = self._fresh()
        return hosts.counts(now=now) if kept is None else kept["counts"]

    def _fresh(self) -> dict[str, Any] | None:
        if self._kept is None:
            return None
        changes, at, found = self._kept
        most = min(self.most_seconds, self.least_seconds if changes != self._changes else self.most_seconds)
        return found if time.monotonic() - at < most else None


def register(app: Flask, bus: EventBus) -> None:
    app.extensions["rm_fleet_summary"] = FleetSummary(bus)


def shared(app: Flask | None = None) -> FleetSummary:
    """The summary of this application."""
    found: FleetSummary = (app or current_app).extensions["rm_fleet_summary"]
    return found
