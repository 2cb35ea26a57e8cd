"""A snapshot's pages: what they show of a folder, a search, what was picked, and a restore before it is ordered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from rm.domain import permissions, restic_lines
from rm.domain import snapshots as rules
from rm.errors import RmError
from rm.services import browsing
from rm.services.agents import Agents
from rm.services.browsing import Entry, Folder, Found, Helper, Place
from rm.services.restores import Plan
from rm.shared.words import counted
from rm.store.models import RestorePick
from rm.web.path_tokens import MAX_TOKEN, token

DUMPS_SHOWN = 5
CRUMBS_SHOWN = 12


@dataclass(frozen=True)
class Row:
    """An entry as the table shows it; `href` opens a folder, `ask` its answer, `value` stands for it in the form.

    `is_inside` says that a picked folder brings it anyway.
    """

    entry: Entry
    href: str
    ask: str
    value: str
    is_picked: bool
    is_inside: bool


@dataclass(frozen=True)
class Asked:
    """What of a snapshot a page is to show: a folder from some entry on, or what a search finds."""

    path: str = "/"
    text: str = ""
    offset: int = 0

    def url(self, base: str, **changes: Any) -> str:
        """The address of this, with some of it changed."""
        values = {"path": self.path, "q": self.text, "from": self.offset} | changes
        values["path"] = "" if values["path"] == "/" else token(str(values["path"]))
        kept = {key: value for key, value in values.items() if value}
        return f"{base}?{urlencode(kept)}" if kept else base


def base_of(place: Place) -> str:
    """The address of a snapshot's page."""
    owner = f"/hosts/{place.host.id}" if place.host is not None else f"/repositories/{place.repository.id}"
    return f"{owner}/snapshots/{place.snapshot.id}"


def values(place: Place, *, step: str, picks: Sequence[RestorePick], role: str) -> dict[str, Any]:
    """What every page of a snapshot shows."""
    host = place.host
    base = base_of(place)
    crumbs = (
        [("Fleet", "/"), (host.name, f"/hosts/{host.id}"), ("Snapshots", f"/hosts/{host.id}/snapshots")]
        if host is not None
        else [
            ("Repositories", "/repositories"),
            (place.repository.name, f"/repositories/{place.repository.id}"),
            ("Snapshots", f"/repositories/{place.repository.id}/snapshots"),
        ]
    )
    return {
        "place": place,
        "owner_name": host.name if host is not None else place.snapshot.hostname,
        "base": base,
        "crumbs": crumbs,
        "step": step,
        "may_restore": permissions.is_allowed(role, "restores.run"),
        "picks": [{"pick": pick, "value": ("d" if pick.is_folder else "f") + token(pick.path)} for pick in picks],
    }


def asking(place: Place, asked: Asked, *, now: datetime, agents: Agents) -> dict[str, Any]:
    """What the page shows until there is an answer."""
    known = browsing.helpers(agents, place)
    able = next((helper.host for helper in known if not helper.why_not), None)
    return {
        "asked": asked,
        "answer_href": asked.url(base_of(place), answer="yes"),
        "through": able,
        "since": now,
        "deadline": now + timedelta(seconds=browsing.ASK_SECONDS),
        "browser": None,
        "search_text": asked.text,
    }


def folder_values(place: Place, asked: Asked, folder: Folder, picks: Sequence[RestorePick]) -> dict[str, Any]:
    """A folder as the table shows it."""
    base, picked = base_of(place), {pick.path for pick in picks}
    rows = [_row(base, entry, picked, value=entry.name) for entry in folder.entries]
    after = folder.offset + len(rows)
    before = max(0, folder.offset - browsing.PAGE_SIZE)
    said = counted(folder.total, "entry", "entries")
    if rows and (folder.offset or after < folder.total):
        said = f"{folder.offset + 1:,} to {after:,} of {said}"
    return {
        "kind": "folder",
        "rows": rows,
        "crumbs": _path_crumbs(base, asked.path),
        "base_path": token(asked.path),
        "is_root": asked.path == "/",
        "folder_value": "d" + token(asked.path),
        "is_folder_picked": asked.path in picked or any(outer in picked for outer in rules.parents(asked.path)),
        "said": said,
        "previous": _links(base, asked, before) if folder.offset else None,
        "next": _links(base, asked, after) if rows and after < folder.total else None,
        "through": folder.through,
        "is_through_another": not browsing.is_owner(place, folder.through),
        "command": restic_lines.listing(place.repository.location, place.snapshot.id[:8], asked.path),
        "href": asked.url(base),
        "ask": asked.url(base, answer="yes"),
    }


def found_values(place: Place, asked: Asked, found: Found, picks: Sequence[RestorePick]) -> dict[str, Any]:
    """What a search found, as the table shows it."""
    base, picked = base_of(place), {pick.path for pick in picks}
    rows = [_row(base, entry, picked, value=entry.path) for entry in found.entries]
    words = counted(len(rows), "match", "matches")
    return {
        "kind": "found",
        "rows": rows,
        "crumbs": [],
        "base_path": "",
        "is_root": False,
        "said": f"The first {words}; write more of the name to narrow it." if found.is_cut else words,
        "previous": None,
        "next": None,
        "through": found.through,
        "is_through_another": not browsing.is_owner(place, found.through),
        "command": restic_lines.search(place.repository.location, place.snapshot.id[:8], asked.text),
        "href": asked.url(base),
        "ask": asked.url(base, answer="yes"),
    }


def problem_values(
    place: Place, asked: Asked, error: RmError, known: Sequence[Helper], role_may_list: bool
) -> dict[str, Any]:
    """Why there is no answer, who could give one, and how to look without this server."""
    base = base_of(place)
    location, short = place.repository.location, place.snapshot.id[:8]
    upper = asked.path.rstrip("/").rpartition("/")[0] or "/"
    return {
        "kind": "problem",
        "code": error.code,
        "message": error.message,
        "help": error.help,
        "helpers": [{"helper": helper, "words": _why_words(helper)} for helper in known],
        "again": asked.url(base, answer="yes"),
        "href": asked.url(base),
        "upper": Asked(path=upper).url(base) if asked.path != "/" and not asked.text else "",
        "can_list": role_may_list and error.code == "snapshot_gone",
        "command": restic_lines.search(location, short, asked.text)
        if asked.text
        else restic_lines.listing(location, short, asked.path),
    }


def review_values(plan: Plan, picks: Sequence[RestorePick]) -> dict[str, Any]:
    """What will happen, in words and as restic commands."""
    location, short = plan.repository.location, plan.snapshot.id[:8]
    host, folders = plan.host, {pick.path for pick in picks if pick.is_folder}
    command = restic_lines.restore(
        location, plan.snapshot.id, target=plan.shown_target, paths=plan.paths, restic=host.restic_version or ""
    )
    dumps = [
        restic_lines.dump(location, short, path, is_folder=path in folders) for path in plan.paths[:DUMPS_SHOWN]
    ] or [restic_lines.dump(location, short, "/", is_folder=True)]
    return {
        "plan": plan,
        "what": counted(len(plan.paths), "file or folder", "files and folders") if plan.paths else "Everything in it",
        "points": _points(plan),
        "restore_command": command,
        "dump_commands": dumps,
        "is_dump_cut": len(plan.paths) > DUMPS_SHOWN,
        "is_waiting": host.connected_at is None,
    }


def _points(plan: Plan) -> list[str]:
    host, snapshot = plan.host, plan.snapshot
    points = []
    if plan.is_in_place:
        points.append(
            f"Each file is written to the place it was backed up from, on {host.name}. What is there now under the"
            " same name is overwritten and cannot be brought back, unless it is in another snapshot."
        )
        points.append("Files that are not in the snapshot stay as they are.")
    else:
        points.append(f"The files are written below {plan.shown_target} on {host.name}, with their whole path.")
        points.append("Nothing that exists elsewhere on the host is changed.")
    if snapshot.hostname != host.hostname:
        points.append(
            f"The snapshot is of {snapshot.hostname}: owners are restored as numbers, which may be other people here."
        )
    points.append("When restic is done, the sizes of the restored files are compared with the snapshot.")
    points.append("While it reads, no prune or check starts in this repository; backups of other hosts go on.")
    if host.connected_at is None:
        points.append(f"{host.name} is not connected: this starts when it is, or is given up after 24 hours.")
    return points


def _row(base: str, entry: Entry, picked: set[str], *, value: str) -> Row:
    is_folder = entry.type == "dir"
    href = ask = ""
    if is_folder and len(token(entry.path)) <= MAX_TOKEN:
        inside = Asked(path=entry.path)
        href, ask = inside.url(base), inside.url(base, answer="yes")
    is_inside = any(outer in picked for outer in rules.parents(entry.path))
    return Row(entry, href, ask, ("d" if is_folder else "f") + token(value), entry.path in picked, is_inside)


def _links(base: str, asked: Asked, offset: int) -> dict[str, str]:
    changes = {"from": offset}
    return {"href": asked.url(base, **changes), "ask": asked.url(base, **changes, answer="yes")}


def _path_crumbs(base: str, path: str) -> list[dict[str, Any]]:
    found = []
    outer = [*rules.parents(path), path] if path != "/" else ["/"]
    for step in outer if len(outer) <= CRUMBS_SHOWN else [outer[0], *outer[1 - CRUMBS_SHOWN :]]:
        asked = Asked(path=step)
        found.append(
            {
                "name": step.rpartition("/")[2] or "/",
                "href": asked.url(base),
                "ask": asked.url(base, answer="yes"),
                "is_here": step == path,
            }
        )
    return found


def _why_words(helper: Helper) -> str:
    return {
        browsing.OFFLINE: "away",
        browsing.TOO_OLD: "its agent is too old for this: update it",
        browsing.REVOKED: "revoked",
    }.get(helper.why_not, "connected")
