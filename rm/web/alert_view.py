"""Incidents and alerts as pages show them, live."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from rm.domain import permissions
from rm.domain.alert_rules import MEMBERS_TOLD
from rm.domain.alerts import KINDS
from rm.events import AlertsChanged, Event, HostChanged, HostRemoved, ListenerFellBehind
from rm.shared.words import counted
from rm.store import alerts, hosts, incidents
from rm.store.models import Alert, Host, Incident
from rm.web import fragments
from rm.web.alert_query import Query
from rm.web.fragments import Fragment

PAGE_SIZE = 50
MEMBERS_SHOWN = 50
EVENTS_SHOWN = 50
ON_HOST = 20
TABS = (
    ("open", "Open"), ("acknowledged", "Acknowledged"), ("snoozed", "Snoozed"), ("resolved", "Resolved"),
)  # fmt: skip
SNOOZES = (("1h", "1 hour"), ("8h", "8 hours"), ("1d", "1 day"), ("7d", "7 days"))
HAPPENED = {
    "raised": ("failed", "Raised"), "worsened": ("failed", "Got worse"), "reopened": ("warning", "Came back"),
    "joined": ("warning", "Joined"), "again": ("warning", "Seen again"), "acknowledged": ("running", "Acknowledged"),
    "snoozed": ("asleep", "Snoozed"), "snooze_ended": ("running", "The snooze ended"), "woken": ("running", "Woken"),
    "recovered": ("ok", "One is over"), "resolved": ("ok", "Resolved"),
}  # fmt: skip
_ICONS = {"running": "info"}


@dataclass(frozen=True)
class Row:
    """An incident, or one alert, with what a person is to see of it."""

    id: str
    title: str
    message: str
    kind: str
    severity: str
    state: str
    since: datetime
    last_seen_at: datetime
    snoozed_until: datetime | None
    snoozed_by: str
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime | None
    resolved_by: str
    note: str
    count: int
    host: Host | None
    host_count: int
    alert_count: int
    about: tuple[str, str]
    path: str

    @property
    def is_snoozed(self) -> bool:
        return self.state != "resolved" and self.snoozed_until is not None

    @property
    def look(self) -> str:
        if self.state == "resolved":
            return "ok"
        if self.is_snoozed:
            return "asleep"
        return "failed" if self.severity == "critical" else "warning"

    @property
    def incident_path(self) -> str:
        return "/".join(self.path.split("/")[:3])

    @property
    def severity_word(self) -> str:
        return "Critical" if self.severity == "critical" else "Warning"

    @property
    def advice(self) -> str:
        return KINDS[self.kind].advice if self.kind in KINDS else ""


def rows(found: list[Incident], now: datetime) -> list[Row]:
    """These incidents as rows, in their order."""
    owners = [one.host_id for one in found if one.host_id]
    by_id = {host.id: host for host in hosts.list_by_ids(owners)} if owners else {}
    sizes = incidents.count_hosts([one.id for one in found]) if found else {}
    return [_incident_row(one, by_id.get(one.host_id or ""), sizes.get(one.id, 0), now) for one in found]


def alert_rows(found: list[Alert], now: datetime) -> list[Row]:
    """These alerts as rows, in their order."""
    by_id = alerts.hosts_of(found)
    return [_alert_row(one, by_id.get(one.host_id or ""), now) for one in found]


def summary(now: datetime, *, shown: int) -> dict[str, Any]:
    """The gravest incidents that ask for somebody, and how many there are."""
    found = incidents.list_needing(now, limit=shown)
    return {
        "incidents": rows(found, now),
        "alert_count": len(found) if len(found) < shown else incidents.count_needing(now),
    }


def of_host(host_id: str, now: datetime) -> list[Row]:
    """What is open about a host."""
    return alert_rows(alerts.list_open_of_host(host_id, limit=ON_HOST), now)


def values(*, role: str, now: datetime, query: Query) -> dict[str, Any]:
    """What the page Alerts shows to this role."""
    found = incidents.list_page(query.wanted, now=now, limit=PAGE_SIZE, offset=(query.page - 1) * PAGE_SIZE)
    total = incidents.count(query.wanted, now=now)
    counts = incidents.counts(now)
    handled = counts["acknowledged"] + counts["snoozed"]
    counts["open"] = counts["needs"] + handled
    return {
        "rows": rows(found, now),
        "query": query,
        "now": now,
        "may_handle": permissions.is_allowed(role, "alerts.handle"),
        "alert_count": counts["needs"],
        "sentence": sentence(counts["needs"], handled),
        "has_critical": any(one.severity == "critical" for one in incidents.list_needing(now, limit=1)),
        "tabs": [(key, word, query.url(state=key, page=1), counts.get(key, 0)) for key, word in TABS],
        "kinds": [("", "Every kind"), *((kind, known.title) for kind, known in KINDS.items())],
        "snoozes": SNOOZES,
        "pager": _pager(query, total),
    }


def sentence(needing: int, handled: int) -> str:
    """The first thing to say about all incidents."""
    more = f" {counted(handled, 'more is', 'more are')} acknowledged or snoozed." if handled else ""
    if not needing:
        return f"No incident needs somebody.{more}"
    return f"{counted(needing, 'incident needs', 'incidents need')} somebody.{more}"


def incident_values(incident_id: str, *, role: str, now: datetime, page: int = 1, events: int = 1) -> dict[str, Any]:
    """What an incident's page shows to this role; raises NotFound."""
    found = incidents.get(incident_id)
    row = rows([found], now)[0]
    members = incidents.list_alerts(incident_id, limit=MEMBERS_SHOWN, offset=(page - 1) * MEMBERS_SHOWN)
    lines = incidents.list_events(incident_id, limit=EVENTS_SHOWN, offset=(events - 1) * EVENTS_SHOWN)
    path = f"/alerts/{incident_id}"
    return {
        "row": row,
        "incident": found,
        "now": now,
        "members": alert_rows(members, now),
        "member_pager": _steps(path, page, found.alert_count, MEMBERS_SHOWN, "alert", other=("events", events)),
        "events": [_line(line) for line in lines],
        "members_without_lines": max(0, found.alert_count - MEMBERS_TOLD),
        "event_pager": _steps(
            path,
            events,
            incidents.count_events(incident_id),
            EVENTS_SHOWN,
            "event",
            name="events",
            other=("page", page),
        ),
        "may_handle": permissions.is_allowed(role, "alerts.handle"),
        "alert_count": incidents.count_needing(now),
        "snoozes": SNOOZES,
    }


def _incident_row(found: Incident, host: Host | None, host_count: int, now: datetime) -> Row:
    return Row(
        id=found.id, title=found.title, message=found.message, kind=found.kind, severity=found.severity,
        state=found.state, since=found.opened_at, last_seen_at=found.last_seen_at,
        snoozed_until=_still(found.snoozed_until, now), snoozed_by=found.snoozed_by,
        acknowledged_at=found.acknowledged_at, acknowledged_by=found.acknowledged_by, resolved_at=found.resolved_at,
        resolved_by=found.resolved_by, note=found.note, count=1, host=host, host_count=host_count,
        alert_count=found.alert_count, path=f"/alerts/{found.id}",
        about=_about(found.kind, found.cause.partition("/")[2], host, found.repository_id),
    )  # fmt: skip


def _alert_row(found: Alert, host: Host | None, now: datetime) -> Row:
    title = KINDS[found.kind].title if found.kind in KINDS else found.kind
    return Row(
        id=found.id, title=f"{title}: {host.name}" if host is not None else title, message=found.message,
        kind=found.kind, severity=found.severity, state=found.state, since=found.first_seen_at,
        last_seen_at=found.last_seen_at, snoozed_until=_still(found.snoozed_until, now), snoozed_by=found.snoozed_by,
        acknowledged_at=found.acknowledged_at, acknowledged_by=found.acknowledged_by, resolved_at=found.resolved_at,
        resolved_by=found.resolved_by, note=found.note, count=found.count, host=host, host_count=1, alert_count=1,
        path=f"/alerts/{found.incident_id}/alerts/{found.id}",
        about=_about(found.kind, found.condition, host, found.repository_id),
    )  # fmt: skip


def _still(until: datetime | None, now: datetime) -> datetime | None:
    return until if until is not None and until > now else None


def _about(kind: str, condition: str, host: Host | None, repository_id: str | None) -> tuple[str, str]:
    """Where the thing itself is to be seen, and what that is called; empty where there is no such page."""
    if kind == "fleet_update_halted":
        return f"/settings/fleet-update/{condition.partition(':')[2]}", "Decide"
    if kind == "release_signature_invalid":
        return "/settings/updates", "Open releases"
    if kind == "server_backup_failed":
        return "/settings/server", "Open server backups"
    if kind == "channel_failing":
        return f"/settings/notifications/{condition.partition(':')[2]}", "Open the channel"
    if kind == "update_failed" and host is not None:
        return f"/hosts/{host.id}#update-card", "Open the update"
    if host is not None:
        return f"/hosts/{host.id}", "Open host"
    return (f"/repositories/{repository_id}", "Open repository") if repository_id else ("", "")


def _line(found: Any) -> dict[str, Any]:
    look, word = HAPPENED.get(found.kind, ("running", found.kind.replace("_", " ").capitalize()))
    by = f" by {found.actor}" if found.actor else ""
    return {
        "id": found.id, "at": found.at, "look": look, "icon": _ICONS.get(look, look), "word": f"{word}{by}",
        "text": found.text,
    }  # fmt: skip


def _pager(query: Query, total: int) -> dict[str, str]:
    first, last = (query.page - 1) * PAGE_SIZE + 1, min(query.page * PAGE_SIZE, total)
    said = counted(total, "incident")
    return {
        "said": said if total <= PAGE_SIZE else f"{first:,} to {last:,} of {said}",
        "previous": query.url(page=query.page - 1) if query.page > 1 else "",
        "previous_word": "Newer",
        "next": query.url(page=query.page + 1) if last < total else "",
        "next_word": "Older",
    }


def _steps(
    path: str, page: int, total: int, size: int, noun: str, *, other: tuple[str, int], name: str = "page"
) -> dict[str, str]:  # fmt: skip
    def link(number: int) -> str:
        chosen = {other[0]: other[1], name: number}
        text = urlencode({key: value for key, value in chosen.items() if value > 1})
        return f"{path}?{text}" if text else path

    last = min(page * size, total)
    said = counted(total, noun)
    return {
        "said": said if total <= size else f"{(page - 1) * size + 1:,} to {last:,} of {said}",
        "previous": link(page - 1) if page > 1 else "",
        "previous_word": "Previous",
        "next": link(page + 1) if last < total else "",
        "next_word": "Next",
    }


class AlertView:
    """One open page of incidents."""

    def __init__(self, app: Flask, *, role: str, query: Query) -> None:
        self._app = app
        self._role = role
        self._query = query
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        found = values(role=self._role, now=now, query=self._query)
        return [
            fragments.render(self._app, "alerts/_sentence.html", found, target="#alerts-sentence"),
            fragments.render(self._app, "alerts/_tabs.html", found, target="#alerts-tabs"),
            fragments.render(self._app, "alerts/_list.html", found, target="#alerts"),
            fragments.render(self._app, "alerts/_badge.html", found, target="#alert-badge"),
        ]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        kinds = (AlertsChanged, HostRemoved, ListenerFellBehind)
        return self.everything(now) if any(isinstance(event, kinds) for event in events) else []


class IncidentView:
    """One open page of an incident."""

    def __init__(self, app: Flask, incident_id: str, *, role: str, page: int, events: int) -> None:
        self._app = app
        self._incident_id = incident_id
        self._role = role
        self._page = page
        self._events = events
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole page as it is now; raises NotFound once it is gone with its host."""
        found = incident_values(
            self._incident_id, role=self._role, now=now, page=self._page, events=self._events
        )  # fmt: skip
        return [
            fragments.render(self._app, "alerts/_head.html", found, target="#incident-head"),
            fragments.render(self._app, "alerts/_members.html", found, target="#incident-alerts"),
            fragments.render(self._app, "alerts/_timeline.html", found, target="#incident-timeline"),
            fragments.render(self._app, "alerts/_badge.html", found, target="#alert-badge"),
        ]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        kinds = (AlertsChanged, HostRemoved, HostChanged, ListenerFellBehind)
        return self.everything(now) if any(isinstance(event, kinds) for event in events) else []
