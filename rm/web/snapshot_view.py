"""The list of snapshots, of a host or of a repository: what it shows, and what of it is asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.datastructures import MultiDict

from rm.domain import permissions
from rm.domain import snapshots as rules
from rm.events import Event, ListenerFellBehind, RepositoryChanged, SnapshotsChanged
from rm.runtime import runtime
from rm.services import browsing
from rm.services.agents import Agents
from rm.shared.words import counted
from rm.store import hosts, repositories, snapshots
from rm.store.models import Host, Repository
from rm.store.snapshots import Wanted
from rm.web import fragments
from rm.web.fragments import Fragment

PAGE_SIZE = 50


@dataclass(frozen=True)
class Query:
    """Which snapshots a tab shows."""

    q: str = ""
    tag: str = ""
    host: str = ""
    page: int = 1

    def url(self, path: str, **changes: Any) -> str:
        """The address of this list with some of it changed."""
        values = {"q": self.q, "tag": self.tag, "host": self.host, "page": self.page} | changes
        kept = {key: value for key, value in values.items() if value and (key, value) != ("page", 1)}
        return f"{path}?{urlencode(kept)}" if kept else path

    @property
    def is_narrowed(self) -> bool:
        return bool(self.q or self.tag or self.host)


def asked_for(args: MultiDict[str, str]) -> Query:
    """The list that a query string asks for; what makes no sense is left out."""
    number = args.get("page", "1")
    return Query(
        q=args.get("q", "").strip()[: rules.MAX_TEXT],
        tag=args.get("tag", "")[:200],
        host=args.get("host", "")[:253],
        page=max(1, int(number)) if number.isdecimal() and len(number) < 7 else 1,
    )


def values(
    query: Query, *, base: str, repository: Repository | None, host: Host | None, lister: Host | None, role: str,
    now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """What the list shows; `host` narrows it to the snapshots of that one, `lister` can list them again."""
    if repository is None:
        none: dict[str, Any] = dict.fromkeys(("rows", "tags", "hosts"), ())
        return {
            "list": none | {
                "path": f"{base}/snapshots", "query": query, "all": 0, "listing": None, "repository": None,
                "has_hosts": False,
            }
        }  # fmt: skip
    hostname = host.hostname if host is not None else ""
    whole = Wanted(repository.id, hostname=hostname)
    wanted = Wanted(repository.id, hostname=hostname or query.host, tag=query.tag, text=query.q)
    rows, total = snapshots.list_page(wanted, limit=PAGE_SIZE, offset=(query.page - 1) * PAGE_SIZE)
    found = {
        "base": base,
        "path": f"{base}/snapshots",
        "query": query,
        "rows": rows,
        "all": snapshots.count_for_repository(repository.id, hostname=hostname or None) if query.is_narrowed else total,
        "listing": snapshots.listing(repository.id),
        "stale": stale_words(repository.id, host, now),
        "repository": repository,
        "has_hosts": host is None,
        "lister": lister,
        "tags": _choices(query, "tag", snapshots.tags(whole), f"{base}/snapshots"),
        "hosts": _choices(query, "host", snapshots.hostnames(repository.id), f"{base}/snapshots") if not host else [],
        "pager": _pager(query, f"{base}/snapshots", len(rows), total),
        "may_browse": permissions.is_allowed(role, "snapshots.browse"),
        "may_run": permissions.is_allowed(role, "jobs.run"),
    }
    return {"list": found}


def stale_words(repository_id: str, host: Host | None, now: datetime) -> str:
    """Why the list may no longer be true, in words; empty while it is fresh."""
    listing = snapshots.listing(repository_id)
    if listing is None:
        return ""
    last_good = snapshots.last_good_of(host) if host is not None else snapshots.last_good(repository_id)
    return {
        rules.OLDER_THAN_BACKUP: "There was a good backup after this list was made; its snapshot may be missing here.",
        rules.TOO_OLD: "This list is more than 26 hours old; snapshots may have been added or removed since.",
    }.get(rules.why_stale(taken_at=listing.taken_at, last_good=last_good, now=now), "")


def repository_values(agents: Agents, query: Query, *, repository_id: str, role: str, now: datetime) -> dict[str, Any]:
    """What the list of a repository's snapshots shows; raises NotFound."""
    return values(
        query, base=f"/repositories/{repository_id}", repository=repositories.get(repository_id), host=None,
        lister=lister(agents, repository_id), role=role, now=now,
    )  # fmt: skip


def lister(agents: Agents, repository_id: str) -> Host | None:
    """The host that lists a repository again: one that is connected, or else the first that may run jobs."""
    able = [host for host in hosts.list_for_repository(repository_id) if host.revoked_at is None]
    return next((host for host in able if agents.is_connected(host.id)), able[0] if able else None)


def comparer(agents: Agents, *, repository_id: str, host: Host | None) -> Host | None:
    """The host that compares snapshots: this one if it can do it now, else another that can, else one that will."""
    standing = [one for one in hosts.list_for_repository(repository_id) if one.revoked_at is None]
    able = [one for one in standing if "diff" in one.features] or standing
    able.sort(key=lambda one: (not agents.is_connected(one.id), host is None or one.id != host.id, one.name))
    return able[0] if able else host


def restorers(agents: Agents, place: browsing.Place) -> list[dict[str, Any]]:
    """The hosts that a restore can go to, with what speaks against each."""
    found = []
    for helper in browsing.helpers(agents, place, feature="restore"):
        host, words = helper.host, ""
        is_able = host.revoked_at is None and "restore" in host.features
        if host.revoked_at is not None:
            words = "It was revoked."
        elif not is_able:
            words = "Its agent is too old for restores: update it first."
        elif helper.why_not == browsing.OFFLINE:
            words = "It is not connected: the restore waits for it, for at most 24 hours."
        found.append({"host": host, "is_owner": helper.is_owner, "is_able": is_able, "words": words})
    return found


def _choices(query: Query, name: str, found: list[tuple[str, int]], path: str) -> list[dict[str, Any]]:
    chosen = getattr(query, name)
    return [
        {
            "label": value or "no name",
            "count": count,
            "is_current": value == chosen,
            "href": query.url(path, **{name: "" if value == chosen else value, "page": 1}),
        }
        for value, count in found[:20]
        if value
    ]


def _pager(query: Query, path: str, shown: int, total: int) -> dict[str, str]:
    first = (query.page - 1) * PAGE_SIZE + 1
    said = f"{first:,} to {first + shown - 1:,} of {counted(total, 'snapshot')}" if shown else "None on this page"
    return {
        "said": f"{said}, newest first" if total > PAGE_SIZE else counted(total, "snapshot"),
        "previous": query.url(path, page=query.page - 1) if query.page > 1 else "",
        "previous_word": "Newer",
        "next": query.url(path, page=query.page + 1) if first + shown <= total and shown else "",
        "next_word": "Older",
    }


class RepositorySnapshotsView:
    """One open list of a repository's snapshots."""

    def __init__(self, app: Flask, repository_id: str, query: Query, *, role: str) -> None:
        self._app = app
        self._repository_id = repository_id
        self._query = query
        self._role = role
        self.is_behind = False

    def everything(self, now: datetime) -> list[Fragment]:
        """The list as it is now; raises NotFound once the repository is gone."""
        found = repository_values(
            runtime(self._app).agents, self._query, repository_id=self._repository_id, role=self._role, now=now
        )
        return [fragments.render(self._app, "snapshots/_list.html", found, target="#snapshots")]

    def changed(self, events: Iterable[Event], now: datetime) -> list[Fragment]:
        """What these events changed in the list."""
        return self.everything(now) if any(self._is_mine(event) for event in events) else []

    def _is_mine(self, event: Event) -> bool:
        if isinstance(event, ListenerFellBehind):
            return True
        return isinstance(event, (RepositoryChanged, SnapshotsChanged)) and event.repository_id == self._repository_id
