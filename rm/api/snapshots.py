"""Snapshots for programs: listing them, looking into one, restoring from one, comparing two."""

from typing import Any

from flask import Blueprint, request

from rm.api import documents
from rm.domain import snapshots as rules
from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import browsing
from rm.services import restores as service
from rm.services.browsing import Entry
from rm.services.restores import Wish
from rm.shared import instants
from rm.store import hosts, snapshots
from rm.store.models import Snapshot
from rm.store.snapshots import Wanted

routes = Blueprint("api_snapshots", __name__, url_prefix="/api/v1/hosts/<host_id>")

MAX_PAGE = 200


@routes.get("/snapshots")
@allows("fleet.view")
def index(host_id: str) -> dict[str, Any]:
    """One page of the host's snapshots, the newest first; `next` is the offset to go on with, or null."""
    host = hosts.get(host_id)
    limit, offset = documents.number("limit", 50, MAX_PAGE), documents.number("offset", 0, 10**9)
    if host.repository_id is None:
        return {"items": [], "next": None, "total": 0, "listed_at": None}
    wanted = Wanted(
        host.repository_id, hostname=host.hostname, tag=request.args.get("tag", "")[:200],
        text=request.args.get("q", "").strip()[: rules.MAX_TEXT],
    )  # fmt: skip
    rows, total = snapshots.list_page(wanted, limit=limit, offset=offset)
    listing = snapshots.listing(host.repository_id)
    after = offset + len(rows)
    return {
        "items": [_snapshot(row) for row in rows],
        "next": after if rows and after < total else None,
        "total": total,
        "listed_at": documents.instant(listing.taken_at if listing else None),
    }


@routes.get("/snapshots/<snapshot_id>/entries")
@allows("snapshots.browse")
def entries(host_id: str, snapshot_id: str) -> dict[str, Any]:
    """What a folder of the snapshot holds; waits for the host's answer for at most 25 s."""
    place = browsing.place_on_host(host_id, snapshot_id)
    offset, limit = documents.number("offset", 0, 10**9), documents.number("limit", 200, browsing.MAX_PAGE)
    folder = browsing.list_folder(
        runtime().agents, place, path=request.args.get("path", "/"), offset=offset, limit=limit
    )
    after = offset + len(folder.entries)
    return {
        "path": folder.path,
        "items": [_entry(entry) for entry in folder.entries],
        "next": after if folder.entries and after < folder.total else None,
        "total": folder.total,
        "through_host_id": folder.through.id,
    }


@routes.get("/snapshots/<snapshot_id>/search")
@allows("snapshots.browse")
def search(host_id: str, snapshot_id: str) -> dict[str, Any]:
    """What has `text` in its name; waits for the host's answer for at most 25 s."""
    place = browsing.place_on_host(host_id, snapshot_id)
    found = browsing.search(runtime().agents, place, text=request.args.get("text", ""))
    return {
        "items": [_entry(entry) for entry in found.entries],
        "is_cut": found.is_cut,
        "through_host_id": found.through.id,
    }


@routes.post("/restores")
@allows("restores.run")
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
    job = service.order(parts.bus, wish, host_id=host_id, actor=documents.actor(), now=parts.clock())
    return {"job_id": job.id}, 202


@routes.post("/diffs")
@allows("snapshots.browse")
def compare(host_id: str) -> tuple[dict[str, Any], int]:
    """Order the comparison of two snapshots of the host's repository, on this host."""
    parts, body = runtime(), documents.body()
    pair = [documents.text(body, "snapshot_a"), documents.text(body, "snapshot_b")]
    job = service.order_diff(parts.bus, host_id=host_id, snapshot_ids=pair, actor=documents.actor(), now=parts.clock())
    return {"job_id": job.id}, 202


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
