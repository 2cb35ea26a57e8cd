"""A host's page: what it shows, and which parts of it change when something happens."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from flask import Flask

from rm.domain import permissions
from rm.events import (
    Event,
    JobLogGrew,
    JobProgressed,
    ListenerFellBehind,
    RepositoryChanged,
    SnapshotsChanged,
    UpdateChanged,
)
from rm.runtime import runtime
from rm.store import enrolments, hosts, jobs, schedules, snapshots, source_groups
from rm.web import alert_view, fleet_summary, fragments, host_words, snapshot_view, source_view, update_view, why_view
from rm.web.fragments import Fragment

JOBS_SHOWN = 8
JOBS_PER_PAGE = 30
TABS = (
    ("overview", "Overview", ""),
    ("snapshots", "Snapshots", "/snapshots"),
    ("jobs", "Jobs", "/jobs"),
    ("settings", "Settings", "/settings"),
)


@dataclass(frozen=True)
class Action:
    """The one thing to do next."""

    word: str
    icon: str
    href: str
    values: dict[str, str] = field(default_factory=dict)

    @property
    def is_post(self) -> bool:
        return bool(self.values)


@dataclass(frozen=True)
class Steps:
    """How far a new host is on its way to backups that need nobody."""

    all: tuple[str, ...]
    done: int
    text: str
    action: Action | None

    @property
    def title(self) -> str:
        return "Now let it run by itself" if self.done == len(self.all) - 1 else "To the first backup"


def values(
    host_id: str, *, tab: str, role: str, now: datetime, base_url: str,
    snapshot_query: snapshot_view.Query | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a tab of the page shows to this role; raises NotFound."""
    row = hosts.row(host_id, now=now)
    repository_id = row.host.repository_id
    snapshot_count = snapshots.count_for_repository(repository_id, hostname=row.host.hostname) if repository_id else 0
    found = {
        "row": row,
        "now": now,
        "tab": tab,
        "tabs": [(key, word, path, {"snapshots": snapshot_count or None}.get(key)) for key, word, path in TABS],
        "said": host_words.sentence(row, now),
        "chip": update_view.chips([row.host])[host_id],
        "snapshot_count": snapshot_count,
        "may_run": permissions.is_allowed(role, "jobs.run"),
        "may_test": permissions.is_allowed(role, "repositories.test"),
        "may_edit_repository": permissions.is_allowed(role, "repositories.edit"),
        "may_edit_sources": permissions.is_allowed(role, "sources.edit"),
        "may_edit_schedules": permissions.is_allowed(role, "schedules.edit"),
        "may_apply_template": permissions.is_allowed(role, "templates.apply"),
        "may_make_template": permissions.is_allowed(role, "templates.edit"),
        "may_manage": permissions.is_allowed(role, "hosts.edit"),
    }
    if tab == "overview":
        groups = source_groups.list_for_host(host_id)
        found |= {
            "card": update_view.card(row.host, role=role, base_url=base_url, now=now),
            "what": source_view.card(row, now),
            "jobs": jobs.list_for_host(host_id, limit=JOBS_SHOWN),
            "job_count": jobs.count_for_host(host_id),
            "looks_like": hosts.find_like(row.host.machine_id, but=host_id),
            "steps": steps(row, groups, role),
            "why": why_view.card(row, now),
            "open_alerts": alert_view.of_host(host_id, now),
        }
    elif tab == "snapshots":
        found |= snapshot_view.values(
            snapshot_query or snapshot_view.Query(), base=f"/hosts/{host_id}", repository=row.repository,
            host=row.host, lister=None if row.host.revoked_at else row.host, role=role, now=now,
        )  # fmt: skip
    elif tab == "settings":
        found |= {
            "looks_like": hosts.find_like(row.host.machine_id, but=host_id),
            "renewal": enrolments.undelivered(host_id),
            "credential_since": enrolments.in_use_since(host_id),
            "may_renew": permissions.is_allowed(role, "hosts.renew"),
            "may_reenrol": permissions.is_allowed(role, "hosts.reenrol"),
        }
    return found


def steps(row: hosts.HostRow, groups: list[Any], role: str) -> Steps | None:
    """What is left to do until the first backup, and then until it runs by itself; None once a schedule is there."""
    host, repository = row.host, row.repository
    has_backup = row.last_good_at is not None
    if host.revoked_at is not None or (has_backup and (not groups or schedules.count_for_host(host.id))):
        return None
    page = f"/hosts/{host.id}"
    words = ("Enrolled", "Repository", "Created", "Source group", "First backup", "Schedule")

    def say(done: int, text: str, permission: str, action: Action) -> Steps:
        may = permissions.is_allowed(role, permission)
        return Steps(words, done, text if may else f"{text} Your role may not do this.", action if may else None)

    if has_backup:
        return say(
            5, "Now let it run by itself: add a schedule. The host keeps it and runs it, also without this server.",
            "schedules.edit", Action("Add a schedule", "waiting", f"{page}/schedules/new"),
        )  # fmt: skip
    if repository is None:
        return say(
            1, "Say where this host's backups go: a place that it can reach, and the password that encrypts them.",
            "repositories.edit", Action("Set repository", "repo", f"{page}/repository"),
        )  # fmt: skip
    if not groups:
        return say(
            2 if not _is_created(repository) else 3, "Say what to back up. Start small: /etc is a good first group.",
            "sources.edit", Action("Choose what to back up", "folder", f"{page}/sources/new"),
        )  # fmt: skip
    if not _is_created(repository):
        return say(
            2, "Create the repository at its place. If there is one already, use Test: it is taken over.",
            "jobs.run", Action("Create repository", "repo", f"{page}/jobs", {"kind": "init"}),
        )  # fmt: skip
    return say(
        4, f"All is in place. The first backup of {groups[0].name} reads all files; later ones only what changed.",
        "jobs.run", Action("Back up now", "play", f"{page}/jobs", {"kind": "backup", "source_group_id": groups[0].id}),
    )  # fmt: skip


def _is_created(repository: Any) -> bool:
    return bool(repository.restic_repository_id or repository.test_ok or repository.snapshot_count is not None)


class HostView:
    """One open tab of a host's page."""

    _PARTS: ClassVar = {
        "overview": (
            ("hosts/_head.html", "#host-head"),
            ("hosts/_verdict.html", "#host-verdict"),
            ("updates/_card.html", "#update-card"),
            ("hosts/_steps.html", "#steps"),
            ("hosts/_alerts.html", "#host-alerts"),
            ("hosts/_why.html", "#why"),
            ("hosts/_strip.html", "#days"),
            ("hosts/_sources.html", "#sources"),
            ("hosts/_jobs.html", "#jobs"),
            ("hosts/_repository.html", "#repository"),
            ("hosts/_vitals.html", "#vitals"),
            ("shared/_lamps.html", "#lamps"),
        ),
        "snapshots": (
            ("hosts/_head.html", "#host-head"),
            ("hosts/_verdict.html", "#host-verdict"),
            ("snapshots/_list.html", "#snapshots"),
            ("shared/_lamps.html", "#lamps"),
        ),
        "settings": (
            ("hosts/_head.html", "#host-head"),
            ("hosts/_verdict.html", "#host-verdict"),
            ("hosts/_credential.html", "#credential"),
            ("shared/_lamps.html", "#lamps"),
        ),
    }
    _LITTLE = (
        ("hosts/_head.html", "#host-head"),
        ("hosts/_verdict.html", "#host-verdict"),
        ("shared/_lamps.html", "#lamps"),
    )

    def __init__(
        self, app: Flask, host_id: str, *, tab: str, role: str, snapshot_query: snapshot_view.Query | None = None
    ) -> None:
        self._snapshot_query = snapshot_query
        self._app = app
        self._base_url = runtime(app).settings.base_url
        self._host_id = host_id
        self._tab = tab
        self._role = role
        self._repository_id: str | None = None
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole tab as it is now; raises NotFound once the host is removed."""
        found = values(
            self._host_id, tab=self._tab, role=self._role, now=now, base_url=self._base_url,
            snapshot_query=self._snapshot_query,
        )  # fmt: skip
        found["lamps"] = fleet_summary.shared(self._app).lamps(now)
        self._repository_id = found["row"].host.repository_id
        parts = [
            fragments.render(self._app, template, found, target=target)
            for template, target in self._PARTS.get(self._tab, self._LITTLE)
        ]
        if self._tab == "jobs":
            parts += [self._job_row(job) for job in jobs.list_for_host(self._host_id, limit=JOBS_PER_PAGE)]
        return parts

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the tab."""
        mine = [event for event in events if self._is_mine(event)]
        if not mine:
            return []
        if all(isinstance(event, JobProgressed) for event in mine) and self._tab in ("overview", "jobs"):
            found = (jobs.find(event.job_id) for event in mine if isinstance(event, JobProgressed))
            return [self._job_row(job) for job in found if job is not None]
        if all(isinstance(event, UpdateChanged) for event in mine):
            return self._update(now)
        return self.everything(now)

    def _update(self, now: datetime) -> list[Fragment]:
        row = hosts.row(self._host_id, now=now)
        values = {"row": row, "tab": self._tab, "chip": update_view.chips([row.host])[self._host_id]}
        parts = [fragments.render(self._app, "hosts/_head.html", values, target="#host-head")]
        if self._tab == "overview":
            values["card"] = update_view.card(row.host, role=self._role, base_url=self._base_url, now=now)
            parts.append(fragments.render(self._app, "updates/_card.html", values, target="#update-card"))
        return parts

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, JobLogGrew):
            return False
        if isinstance(event, (RepositoryChanged, SnapshotsChanged)):
            return event.repository_id == self._repository_id
        if isinstance(event, ListenerFellBehind):
            return True
        return getattr(event, "host_id", None) == self._host_id

    def _job_row(self, job: Any) -> Fragment:
        return fragments.render(self._app, "jobs/_row.html", {"job": job}, target=f"#job-{job.id}")
