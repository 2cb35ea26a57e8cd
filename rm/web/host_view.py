"""A host's page: what it shows, and which parts of it change when something happens."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from flask import Flask

from rm.domain import permissions
from rm.domain.health import PROTECTED_FOR
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
from rm.store import enrolments, hosts, jobs, snapshots, source_groups
from rm.web import filters, fleet_summary, fragments, update_view
from rm.web.fragments import Fragment

JOBS_SHOWN = 8
JOBS_PER_PAGE = 30
SNAPSHOTS_SHOWN = 100
TABS = (
    ("overview", "Overview", ""),
    ("snapshots", "Snapshots", "/snapshots"),
    ("jobs", "Jobs", "/jobs"),
    ("settings", "Settings", "/settings"),
)


@dataclass(frozen=True)
class Sentence:
    """What to say about a host: so it is, the part that matters, and what to do."""

    text: str
    emphasis: str = ""
    more: str = ""


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
    """How far a new host is on its way to the first backup."""

    all: tuple[str, ...]
    done: int
    text: str
    action: Action | None


def values(host_id: str, *, tab: str, role: str, now: datetime, base_url: str) -> dict[str, Any]:
    """What a tab of the page shows to this role; raises NotFound."""
    row = hosts.row(host_id, now=now)
    repository_id = row.host.repository_id
    snapshot_count = snapshots.count_for_repository(repository_id, hostname=row.host.hostname) if repository_id else 0
    found = {
        "row": row,
        "now": now,
        "tab": tab,
        "tabs": [(key, word, path, {"snapshots": snapshot_count or None}.get(key)) for key, word, path in TABS],
        "said": sentence(row, now),
        "chip": update_view.chips([row.host])[host_id],
        "snapshot_count": snapshot_count,
        "may_run": permissions.is_allowed(role, "jobs.run"),
        "may_test": permissions.is_allowed(role, "repositories.test"),
        "may_edit_repository": permissions.is_allowed(role, "repositories.edit"),
        "may_edit_sources": permissions.is_allowed(role, "sources.edit"),
        "may_manage": permissions.is_allowed(role, "hosts.edit"),
    }
    if tab == "overview":
        groups = source_groups.list_for_host(host_id)
        found |= {
            "card": update_view.card(row.host, role=role, base_url=base_url, now=now),
            "groups": groups,
            "last_good": jobs.last_good_by_group(host_id),
            "jobs": jobs.list_for_host(host_id, limit=JOBS_SHOWN),
            "job_count": jobs.count_for_host(host_id),
            "looks_like": hosts.find_like(row.host.machine_id, but=host_id),
            "steps": steps(row, groups, role),
        }
    elif tab == "snapshots":
        shown = (
            snapshots.list_for_repository(repository_id, hostname=row.host.hostname, limit=SNAPSHOTS_SHOWN)
            if repository_id
            else []
        )
        found |= {"snapshots": shown, "listing": snapshots.listing(repository_id) if repository_id else None}
    elif tab == "settings":
        found |= {
            "looks_like": hosts.find_like(row.host.machine_id, but=host_id),
            "renewal": enrolments.undelivered(host_id),
            "credential_since": enrolments.in_use_since(host_id),
            "may_renew": permissions.is_allowed(role, "hosts.renew"),
            "may_reenrol": permissions.is_allowed(role, "hosts.reenrol"),
        }
    return found


def sentence(row: hosts.HostRow, now: datetime) -> Sentence:
    """The page's verdict about one host."""
    host, code = row.host, row.health.code
    last_good = row.last_good_at
    ago = f"{filters.duration(now - last_good)} ago" if last_good else ""
    if code == "revoked":
        return Sentence(
            "This host is revoked: it cannot connect.",
            more="Its history stays until you remove it. To bring it back, enrol it again from its settings.",
        )
    if host.first_hello_at is None:
        return Sentence(
            "Enrolled, but its agent has not connected yet.",
            more="Start it there with rm-agent run; it connects within seconds. If not, ask rm-agent doctor there.",
        )
    if code == "running":
        doing = row.health.word
        if row.is_online:
            return Sentence(
                f"{doing} now.",
                more=f"Last good backup {ago}." if ago else "This is its first good backup, if it ends well.",
            )
        return Sentence(
            f"{doing}, as far as known.",
            "Its connection is lost.",
            "The job goes on without the server; its result arrives when the host is back.",
        )
    if code == "failed":
        what = "No good backup yet." if not last_good else f"Last good backup {ago}."
        return Sentence(
            what if not row.health.is_protected else f"Protected, but the last run failed. {what}",
            row.health.why,
            "Open the last job below for its log and what to do.",
        )
    if code == "late":
        return Sentence(
            f"No good backup for {filters.duration(now - last_good) if last_good else 'long'}.",
            "" if row.is_online else "The host is silent.",
            f"A host counts as protected for {PROTECTED_FOR.total_seconds() / 3600:.0f} hours after a good backup."
            + ("" if row.is_online else " Switch it on, or look at the agent there with rm-agent doctor."),
        )
    if code == "never":
        missing = (
            "No restic was found on the host: install it there, for example with apt install restic."
            if host.restic_version is None
            else ""
        )
        return Sentence("Not protected yet.", f"{row.health.why[:1].upper()}{row.health.why[1:]}.", missing)
    if code == "offline":
        return Sentence(
            f"Protected: last good backup {ago}.",
            "The host is silent now.",
            f"Last heard of {filters.duration(now - host.last_seen_at)} ago." if host.last_seen_at else "",
        )
    return Sentence(f"Protected: last good backup {ago}." if ago else "Protected.")  # fmt: skip


def steps(row: hosts.HostRow, groups: list[Any], role: str) -> Steps | None:
    """What is left to do until the first backup; None once there was one."""
    host, repository = row.host, row.repository
    if row.last_good_at is not None or host.revoked_at is not None:
        return None
    page = f"/hosts/{host.id}"
    words = ("Enrolled", "Repository", "Created", "Source group", "First backup")

    def say(done: int, text: str, permission: str, action: Action) -> Steps:
        may = permissions.is_allowed(role, permission)
        return Steps(words, done, text if may else f"{text} Your role may not do this.", action if may else None)

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
            ("hosts/_snapshots.html", "#snapshots"),
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

    def __init__(self, app: Flask, host_id: str, *, tab: str, role: str) -> None:
        self._app = app
        self._base_url = runtime(app).settings.base_url
        self._host_id = host_id
        self._tab = tab
        self._role = role
        self._repository_id: str | None = None
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The whole tab as it is now; raises NotFound once the host is removed."""
        found = values(self._host_id, tab=self._tab, role=self._role, now=now, base_url=self._base_url)
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
