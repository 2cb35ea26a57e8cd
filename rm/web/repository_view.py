"""The repositories' pages: what they show, and which parts of them change when something happens."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import Flask

from rm.domain import health, permissions
from rm.events import Event, HostSeen, JobLogGrew, JobProgressed, ListenerFellBehind
from rm.shared.words import counted
from rm.store import hosts, jobs, repositories
from rm.store.models import Host, Repository
from rm.web import fragments, maintenance_view, repository_growth
from rm.web.fragments import Fragment

PAGE_SIZE = 50
UNSEEN = (HostSeen, JobLogGrew, JobProgressed)


def list_values(*, page: int) -> dict[str, Any]:
    """What a page of the list shows, by a fixed number of queries."""
    total = repositories.count()
    # behind the last page is the last page: it would be a lie that there are none
    page = min(page, max(1, -(-total // PAGE_SIZE)))
    found = repositories.list_page(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    ids = [repository.id for repository in found]
    users, open_jobs = hosts.users_of(ids), jobs.open_of_repositories(ids)
    rows = [
        {
            "repository": repository,
            "hosts": users.get(repository.id, []),
            "open_jobs": open_jobs.get(repository.id, []),
        }
        for repository in found
    ]
    return {"rows": rows, "pager": _pager(page, total)}


def _pager(page: int, total: int) -> dict[str, str]:
    first, last = (page - 1) * PAGE_SIZE + 1, min(page * PAGE_SIZE, total)
    said = f"{counted(total, 'repository', 'repositories')}, by name"
    return {
        "said": f"{first:,} to {last:,} of {said}" if total > PAGE_SIZE else said,
        "previous": f"/repositories?page={page - 1}" if page > 1 else "",
        "previous_word": "Previous",
        "next": f"/repositories?page={page + 1}" if last < total else "",
        "next_word": "Next",
    }


def values(repository_id: str, *, role: str, now: datetime, days: int = 30) -> dict[str, Any]:
    """What the page of a repository shows to this role; raises NotFound."""
    repository = repositories.get(repository_id)
    users = hosts.list_for_repository(repository_id)
    everyday = repositories.credential(repository_id)
    maintenance = repositories.credential(repository_id, repositories.MAINTENANCE)
    open_jobs = jobs.open_for_repository(repository_id)
    return {
        "repository": repository,
        "now": now,
        "growth": repository_growth.growth(repository, days=days, now=now),
        "maintenance_rows": maintenance_view.rows(repository_id, now=now),
        "lease": maintenance_view.lease(open_jobs),
        "may_plan": permissions.is_allowed(role, "maintenance.edit"),
        "users": [(host, _is_online(host, now)) for host in users],
        "everyday": everyday.username if everyday else "",
        "maintenance": {"username": maintenance.username, "location": maintenance.location} if maintenance else None,
        "open_jobs": open_jobs,
        "past_jobs": [job for job in jobs.list_for_repository(repository_id) if job.state == "finished"],
        "said": verdict(repository, users),
        "may_run": permissions.is_allowed(role, "jobs.run"),
        "may_test": permissions.is_allowed(role, "repositories.test"),
        "may_edit": permissions.is_allowed(role, "repositories.edit"),
        "can_prune": not repository.is_append_only or maintenance is not None,
    }


def verdict(repository: Repository, users: list[Host]) -> dict[str, str]:
    """How it stands with a repository, and what to do next."""
    if repository.restic_id_seen:
        return {
            "kind": "failed",
            "text": "Another repository is at this place.",
            "more": f"Known is {(repository.restic_repository_id or '')[:10]}, found was"
            f" {repository.restic_id_seen[:10]}. No job writes to it until an administrator accepts it or corrects"
            " the location.",
        }
    if repository.test_ok is False:
        return {"kind": "failed", "text": "It could not be opened at the last test.", "more": repository.test_message}
    if repository.check_ok is False:
        return {
            "kind": "failed", "text": "The last check found damage.",
            "more": "Nothing is forgotten or pruned until a check finds none. Copy the repository, then follow restic's"
            " advice in the log of that check.",
        }  # fmt: skip
    if not users:
        return {
            "kind": "warning", "text": "No host uses it yet.",
            "more": "Let a host use it below, then test it from there.",
        }  # fmt: skip
    if repository.restic_repository_id is None:
        return {
            "kind": "warning",
            "text": "Nobody has opened it yet.",
            "more": "Test it from a host: a repository that exists is taken over as it is. If there is none, create it"
            " on the host's page.",
        }
    return {"kind": "ok", "text": f"In use by {counted(len(users), 'host')}.", "more": ""}


def _is_online(host: Host, now: datetime) -> bool:
    return health.is_online(is_connected=host.connected_at is not None, last_seen_at=host.last_seen_at, now=now)


class RepositoryView:
    """One open tab of a repository's page."""

    _PARTS = (
        ("repositories/_head.html", "#repository-head"),
        ("repositories/_verdict.html", "#repository-verdict"),
        ("repositories/_growth.html", "#repository-growth"),
        ("repositories/_facts.html", "#repository-facts"),
        ("repositories/_maintenance.html", "#repository-maintenance"),
        ("repositories/_jobs.html", "#repository-jobs"),
        ("repositories/_hosts.html", "#repository-hosts"),
    )

    def __init__(self, app: Flask, repository_id: str, *, role: str, days: int = 30) -> None:
        self._app = app
        self._repository_id = repository_id
        self._role = role
        self._days = days
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The page as it is now; raises NotFound once the repository is gone."""
        found = values(self._repository_id, role=self._role, days=self._days, now=now)
        return [fragments.render(self._app, template, found, target=target) for template, target in self._PARTS]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed on the page."""
        return self.everything(now) if any(self._is_mine(event) for event in events) else []

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, UNSEEN):
            return False
        about = getattr(event, "repository_id", None)
        return isinstance(event, ListenerFellBehind) or about in (None, self._repository_id)


class RepositoriesView:
    """One open tab of the list."""

    def __init__(self, app: Flask, *, page: int) -> None:
        self._app = app
        self._page = page
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        found = list_values(page=self._page)
        return [fragments.render(self._app, "repositories/_table.html", found, target="#repositories")]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """The list, unless nothing that it shows can have changed."""
        return self.everything(now) if any(not isinstance(event, UNSEEN) for event in events) else []
