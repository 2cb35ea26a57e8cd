"""Alerts as pages show them, live."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Flask

from rm.domain import permissions
from rm.domain.alerts import KINDS
from rm.events import AlertsChanged, Event, HostChanged, HostRemoved, ListenerFellBehind
from rm.store import alerts
from rm.store.models import Alert, Host
from rm.web import fragments
from rm.web.fragments import Fragment

PAGE_SIZE = 50


@dataclass(frozen=True)
class AlertRow:
    """One alert with its words, and the host that it is about."""

    alert: Alert
    title: str
    host: Host | None

    @property
    def about(self) -> tuple[str, str]:
        """Where the thing itself is to be seen, and what that is called; empty where there is no such page."""
        if self.alert.kind == "fleet_update_halted":
            return f"/settings/fleet-update/{self.alert.condition.partition(':')[2]}", "Decide"
        if self.alert.kind == "update_failed" and self.host is not None:
            return f"/hosts/{self.host.id}#update-card", "Open the update"
        return "", ""

    @property
    def look(self) -> str:
        if self.alert.state == "resolved":
            return "ok"
        return "failed" if self.alert.severity == "critical" else "warning"


def rows(found: list[Alert]) -> list[AlertRow]:
    hosts = alerts.hosts_of(found)
    return [
        AlertRow(alert, KINDS[alert.kind].title if alert.kind in KINDS else alert.kind, hosts.get(alert.host_id or ""))
        for alert in found
    ]


def summary(*, shown: int) -> dict[str, Any]:
    """The gravest that nobody has looked at yet, and how many there are."""
    found = alerts.list_raised(limit=shown)
    return {"alerts": rows(found), "alert_count": len(found) if len(found) < shown else alerts.count_raised()}


def values(*, role: str, now: datetime, page: int = 1) -> dict[str, Any]:
    """What the page Alerts shows to this role."""
    found = alerts.list_page(limit=PAGE_SIZE + 1, offset=(page - 1) * PAGE_SIZE)
    count = alerts.count_open()
    return {
        "rows": rows(found[:PAGE_SIZE]),
        "now": now,
        "may_handle": permissions.is_allowed(role, "alerts.handle"),
        "alert_count": alerts.count_raised(),
        "pager": {
            "said": f"{count} open, the newest first; resolved ones after them",
            "previous": f"/alerts?page={page - 1}" if page > 1 else "",
            "previous_word": "Newer",
            "next": f"/alerts?page={page + 1}" if len(found) > PAGE_SIZE else "",
            "next_word": "Older",
        },
    }


class AlertView:
    """One open page of alerts."""

    def __init__(self, app: Flask, *, role: str, page: int) -> None:
        self._app = app
        self._role = role
        self._page = page
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        found = values(role=self._role, now=now, page=self._page)
        return [
            fragments.render(self._app, "alerts/_list.html", found, target="#alerts"),
            fragments.render(self._app, "alerts/_badge.html", found, target="#alert-badge"),
        ]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        kinds = (AlertsChanged, HostRemoved, HostChanged, ListenerFellBehind)
        return self.everything(now) if any(isinstance(event, kinds) for event in events) else []
