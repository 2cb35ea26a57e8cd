"""Snapshots for programs: listing them, looking into one, restoring from one, comparing two."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, request

from rm.api import caller, documents
from rm.api.operations import BY_PATH, operation
from rm.api.shapes import ID, INSTANT, OFFSET, TEXT, WHOLE, nothing_or, page_of, ref, text, whole
from rm.domain import snapshots as rules
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import browsing
from rm.services import restores as service
from rm.services.browsing import Entry, Place
from rm.services.restores import Wish
from rm.shared import instants
from rm.store import hosts, repositories, snapshots
from rm.store.models import Snapshot
from rm.store.snapshots import Wanted

routes = Blueprint("api_snapshots", __name__, url_prefix="/api/v1/hosts/<host_id>")
repository_routes = Blueprint("api_repository_snapshots", __name__, url_prefix="/api/v1/repositories/<repository_id>")

MAX_PAGE = 200
FOLDER = {"path": TEXT, "total": WHOLE, "through_host_id": ID}
FOLDER_QUERY = {"path": TEXT, "limit": whole(1, browsing.MAX_PAGE), "offset": OFFSET}


@routes.get("/snapshots")
@allows("fleet.view")
@operation(
    {200: page_of("Snapshot", total=WHOLE, listed_at=nothing_or(INSTANT))},
    query={"tag": text(200), "q": TEXT, "limit": whole(1, MAX_PAGE), "offset": OFFSET},
    scope=BY_PATH,
)
def index(host_id: str) -> dict[str, Any]:
    """One page of the host's snapshots, the newest first; `next` is the offset to go on with, or null."""
    host = hosts.get(host_id)
    # Without a hostname, which a host tells with its first hello, the page would be of everybody's.
    if host.repository_id is None or not host.hostname:
        return {"items": [], "next": None, "total": 0, "listed_at": None}
    return _page(host.repository_id, hostname=host.hostname)


@routes.get("/snapshots/<snapshot_id>/entries")
@allows("snapshots.browse")
@operation(
    {200: page_of("Entry", path=TEXT, total=WHOLE, through_host_id=ID)},
    query={"path": TEXT, "limit": whole(1, browsing.MAX_PAGE), "offset": OFFSET},
    scope=BY_PATH,
    waits=True,
)
def entries(host_id: str, snapshot_id: str) -> dict[str, Any]:
    """What a folder of the snapshot holds; waits for the host's answer for at most 25 s."""
    return _folder(browsing.place_on_host(host_id, snapshot_id))


@routes.get("/snapshots/<snapshot_id>/search")
@allows("snapshots.browse")
@operation({200: ref("Found")}, query={"text": TEXT}, scope=BY_PATH, waits=True)
def search(host_id: str, snapshot_id: str) -> dict[str, Any]:
    """What has `text` in its name; waits for the host's answer for at most 25 s."""
    return _found(browsing.place_on_host(host_id, snapshot_id))


@routes.post("/restores")
@allows("restores.run")
@operation({202: ref("JobOrdered")}, body=ref("Restore"), scope=BY_PATH)
def restore(host_id: str) -> tuple[dict[str, Any], int]:
    """Order a restore to this host, from any snapshot of its repository; in place wants the name as `typed_name`."""
    parts, body = runtime(), documents.body()
    is_in_place = body.get("in_place", False)
    if not isinstance(is_in_place, bool):
        raise Invalid({"in_place": "must be true or false"}, "in_place must be true or false.")
    paths = documents.texts(body, "paths")
    if not paths and body.get("everything") is not True:
        raise Invalid({"paths": "name at least one"}, "Name paths, or send everything: true for the whole snapshot.")
    if paths and body.get("everything") is True:
        raise Invalid({"paths": "must be empty with everything"}, "Send either paths or everything: true.")
    wish = Wish(
        snapshot_id=documents.text(body, "snapshot_id"),
        paths=tuple(paths),
        target=documents.text(body, "target", ""),
        is_in_place=is_in_place,
        typed_name=documents.text(body, "typed_name", ""),
    )
    job = service.order(parts.bus, wish, host_id=host_id, actor=caller.actor(), now=parts.clock())
    return {"job_id": job.id}, 202


@routes.post("/diffs")
@allows("snapshots.browse")
@operation({202: ref("JobOrdered")}, body=ref("Comparison"), scope=BY_PATH)
def compare(host_id: str) -> tuple[dict[str, Any], int]:
    """Order the comparison of two snapshots of the host's repository, on this host."""
    parts, body = runtime(), documents.body()
    pair = [documents.text(body, "snapshot_a"), documents.text(body, "snapshot_b")]
    job = service.order_diff(parts.bus, host_id=host_id, snapshot_ids=pair, actor=caller.actor(), now=parts.clock())
    return {"job_id": job.id}, 202


@repository_routes.get("/snapshots")
@allows("fleet.view")
@operation(
    {200: page_of("Snapshot", total=WHOLE, listed_at=nothing_or(INSTANT))},
    query={"host": text(255), "tag": text(200), "q": TEXT, "limit": whole(1, MAX_PAGE), "offset": OFFSET},
)
def in_repository(repository_id: str) -> dict[str, Any]:
    """One page of all snapshots in a repository, whoever made them; `host` keeps one hostname's."""
    return _page(repositories.get(repository_id).id, hostname=request.args.get("host", ""))


@repository_routes.get("/snapshots/<snapshot_id>/entries")
@allows("snapshots.browse")
@operation({200: page_of("Entry", **FOLDER)}, query=FOLDER_QUERY, scope=BY_PATH, waits=True)
def entries_in_repository(repository_id: str, snapshot_id: str) -> dict[str, Any]:
    """What a folder of the snapshot holds; a host that uses the repository is asked."""
    return _folder(browsing.place_in_repository(repository_id, snapshot_id))


@repository_routes.get("/snapshots/<snapshot_id>/search")
@allows("snapshots.browse")
@operation({200: ref("Found")}, query={"text": TEXT}, waits=True)
def search_in_repository(repository_id: str, snapshot_id: str) -> dict[str, Any]:
    """What has `text` in its name; a host that uses the repository is asked."""
    return _found(browsing.place_in_repository(repository_id, snapshot_id))


def _page(repository_id: str, *, hostname: str) -> dict[str, Any]:
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    wanted = Wanted(
        repository_id, hostname=hostname, tag=request.args.get("tag", "")[:200],
        text=request.args.get("q", "").strip()[: rules.MAX_TEXT],
    )  # fmt: skip
    rows, total = snapshots.list_page(wanted, limit=limit, offset=offset)
    listing = snapshots.listing(repository_id)
    after = offset + len(rows)
    return {
        "items": [_snapshot(row) for row in rows],
        "next": after if rows and after < total else None,
        "total": total,
        "listed_at": documents.instant(listing.taken_at if listing else None),
    }


def _folder(place: Place) -> dict[str, Any]:
    offset, limit = documents.number("offset", 0, 10**9), documents.number("limit", 200, browsing.MAX_PAGE)
    folder = browsing.list_folder(
        runtime().agents,
        replace(place, tags=caller.scope()),
        path=request.args.get("path", "/"),
        offset=offset,
        limit=limit,
    )
    after = offset + len(folder.entries)
    return {
        "path": folder.path,
        "items": [_entry(entry) for entry in folder.entries],
        "next": after if folder.entries and after < folder.total else None,
        "total": folder.total,
        "through_host_id": folder.through.id,
    }


def _found(place: Place) -> dict[str, Any]:
    found = browsing.search(runtime().agents, replace(place, tags=caller.scope()), text=request.args.get("text", ""))
    return {
        "items": [_entry(entry) for entry in found.entries],
        "is_cut": found.is_cut,
        "through_host_id": found.through.id,
    }


def _snapshot(found: Snapshot) -> dict[str, Any]:
    return {
        "id": found.id,
        "time": documents.instant(found.time),
        "hostname": found.hostname,
        "username": found.username,
        "paths": found.paths,
        "tags": found.tags,
        "total_bytes": found.total_bytes,
        "total_files": found.total_files,
        "data_added": found.data_added,
    }


def _entry(found: Entry) -> dict[str, Any]:
    return {
        "name": found.name,
        "path": found.path,
        "type": found.type,
        "size": found.size,
        "mtime": instants.to_text(found.mtime) if found.mtime else None,
        "mode": found.mode,
        "target": found.target,
        "selectable": found.is_selectable,
    }
