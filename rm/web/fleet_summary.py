"""What is said about the whole fleet: the same for every viewer, and so read once for all of them."""

import time
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app

from rm.domain import health
from rm.events import Event, EventBus, HostSeen, JobLogGrew, JobProgressed, UpdateChanged
from rm.services import disk_space
from rm.store import fleet_updates, host_list, hosts, jobs, releases, repositories, verdicts
from rm.web import alert_view, pending_view

NEEDS_SHOWN = 5
NEEDS_READ = 25
URGENCY = {"missed": 0, "failed": 0, "late": 1, "retrying": 2, "offline": 2, "never": 3, "asleep": 4, "running": 5}
# They change one row, and nothing that is counted.
UNCOUNTED = (HostSeen, JobProgressed, JobLogGrew, UpdateChanged)


def summary(now: datetime) -> dict[str, Any]:
    """Counts, the verdict, what needs somebody, jobs of the last day, what is stored, and the tags in use."""
    counts = host_list.counts(now=now)
    raised = alert_view.summary(now, shown=NEEDS_SHOWN)
    # what an alert tells is not told twice
    told = verdicts.told_unprotected(now)
    needs = host_list.list_page(now=now, status="problems", limit=NEEDS_READ)[0] if counts["problems"] else []
    needs = [row for row in needs if row.host.id not in told]
    needs.sort(key=lambda row: URGENCY.get(row.health.code, len(URGENCY)))
    problem_count = counts["problems"] - len(told)
    pending = pending_view.summary(now, shown=NEEDS_SHOWN)
    return {
        "counts": counts,
        "lamps": lamps(counts),
        "release": releases.current(),
        "needs": needs[:NEEDS_SHOWN],
        "verdict": health.fleet_verdict(
            counts,
            tuple(host_list.list_unprotected(now=now)),
            tuple(_in_short(row) for row in raised["incidents"]),
            raised["alert_count"],
        ),
        "jobs": jobs.counts_since(now - timedelta(hours=24)),
        "stored": repositories.totals(),
        "tags": hosts.list_tags(),
        "problem_count": problem_count,
        "need_count": problem_count + raised["alert_count"] + pending["pending_count"],
        **pending,
        **raised,
    }


def _in_short(row: alert_view.Row) -> health.OpenIncident:
    return health.OpenIncident(row.title, is_critical=row.severity == "critical", hosts=row.host_count)


def lamps(counts: dict[str, Any]) -> dict[str, Any]:
    """What the bar shows on every page: the counts, a disk that is almost full, the fleet update that is not over."""
    counts = counts | {"disk": disk_space.seen().level}
    update = fleet_updates.find_open()
    if update is None:
        return counts | {"fleet_update": None}
    states = fleet_updates.counts(update.id)
    total = sum(count for state, count in states.items() if state != "excluded")
    return counts | {
        "fleet_update": {
            "id": update.id, "state": update.state, "version": update.to_version, "total": total,
            "done": states.get("succeeded", 0),
        }
    }  # fmt: skip


class FleetSummary:
    """Keeps the summary until something happened, and never longer than `most_seconds`: time alone makes hosts late.

    `least_seconds` bounds the work when hundreds of hosts report at once.
    """

    def __init__(self, bus: EventBus, *, least_seconds: float = 0.25, most_seconds: float = 5.0) -> None:
        self.least_seconds = least_seconds
        self.most_seconds = most_seconds
        self.changes = 0
        self._kept: tuple[int, float, dict[str, Any]] | None = None
        bus.on_event(self._note)

    def _note(self, event: Event) -> None:
        if not isinstance(event, UNCOUNTED):
            self.changes += 1

    def values(self, now: datetime) -> dict[str, Any]:
        """The summary; needs an open connection."""
        kept = self._fresh()
        if kept is not None:
            return kept
        changes, at = self.changes, time.monotonic()
        found = summary(now)
        self._kept = (changes, at, found)
        return found

    def lamps(self, now: datetime) -> dict[str, Any]:
        """The lamps alone, which every page shows."""
        kept = self._fresh()
        found: dict[str, Any] = lamps(host_list.counts(now=now)) if kept is None else kept["lamps"]
        return found

    @property
    def is_outdated(self) -> bool:
        """Whether something happened that the kept summary does not tell."""
        return self._kept is not None and self._kept[0] != self.changes

    def _fresh(self) -> dict[str, Any] | None:
        if self._kept is None:
            return None
        changes, at, found = self._kept
        most = min(self.most_seconds, self.least_seconds if changes != self.changes else self.most_seconds)
        return found if time.monotonic() - at < most else None


def register(app: Flask, bus: EventBus) -> None:
    app.extensions["rm_fleet_summary"] = FleetSummary(bus)


def shared(app: Flask | None = None) -> FleetSummary:
    """The summary of this application."""
    found: FleetSummary = (app or current_app).extensions["rm_fleet_summary"]
    return found
