"""Agents that answer questions about one made-up snapshot, and the rows that such a snapshot needs."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from rm.errors import HostOffline
from rm.shared.protocol import BrowseResult, CommandBrowse
from rm.store.models import Host, Snapshot, SnapshotListing
from tests import cast

ID = "4be1f09c" + "ab" * 28
OLDER_ID = "0d15ea5e" + "cd" * 28
FEATURES = ["schedules", "forget", "hooks", "time_box", "browse", "restore", "diff"]

ODD_NAMES = (
    "a\nb", "tab\there", "quote'\"<b>&", "photo\u202egpj.exe", "-rf", " lead", "*?[x]\\", "~tilde", "x" * 255,
    "ünïcödé", "\u05e9\u05dc\u05d5\u05dd",
)  # fmt: skip

Answer = Callable[[CommandBrowse], dict[str, Any] | BrowseResult]


class SnapshotAgents:
    """The hosts that are connected, and how each answers; keeps the questions."""

    def __init__(self, *connected: str, answer: Answer | None = None) -> None:
        self.connected = set(connected)
        self.answer = answer or in_tree
        self.asked: list[tuple[str, CommandBrowse]] = []

    def is_connected(self, host_id: str) -> bool:
        return host_id in self.connected

    def count(self) -> int:
        return len(self.connected)

    def ask(self, host_id: str, question: CommandBrowse, *, timeout_seconds: float) -> BrowseResult:
        if host_id not in self.connected:
            raise HostOffline("The host is not connected.")
        self.asked.append((host_id, question))
        told = self.answer(question)
        if isinstance(told, BrowseResult):
            return told
        return BrowseResult(request_id=question.request_id, ok=True, data=told)


def entry(path: str, kind: str = "file", *, size: int | None = 2048, **more: Any) -> dict[str, Any]:
    return {
        "name": path.rpartition("/")[2], "path": path, "type": kind, "size": size if kind == "file" else None,
        "mtime": "2026-11-20T10:00:00.000000Z", "mode": "-rw-r--r--", "target": "", "selectable": True,
    } | more  # fmt: skip


TREE: dict[str, list[dict[str, Any]]] = {
    "/": [entry("/etc", "dir"), entry("/srv", "dir")],
    "/etc": [entry("/etc/ssl", "dir"), entry("/etc/hosts"), entry("/etc/localtime", "symlink", target="/usr/share/x")],
    "/etc/ssl": [],
    "/srv": [entry(f"/srv/{name}") for name in ODD_NAMES],
}


def in_tree(question: CommandBrowse) -> dict[str, Any] | BrowseResult:
    """What the agent of a small tree says."""
    asked = question.parameters
    if question.query == "sizes":
        return {"files": 3, "bytes": 4096, "is_cut": False, "missing": []}
    if question.query == "find":
        names = [one for folder in TREE.values() for one in folder if asked["text"].lower() in one["name"].lower()]
        return {"entries": names, "is_cut": False}
    entries = TREE.get(asked["path"])
    if entries is None:
        return refused(question, "path_gone", "There is no such file or folder in this snapshot.")
    page = entries[asked["offset"] : asked["offset"] + asked["limit"]]
    return {"path": asked["path"], "entries": page, "total": len(entries), "offset": asked["offset"]}


def refused(question: CommandBrowse, reason: str, message: str) -> BrowseResult:
    return BrowseResult(request_id=question.request_id, ok=False, reason=reason, message=message)


def able(*host_ids: str, features: Iterable[str] = FEATURES, **more: Any) -> None:
    """Let these hosts have an agent that can all this, and a restore directory."""
    values = {"features": list(features), "restore_directory": "/var/lib/rm-agent/restore"} | more
    Host.update(values).where(Host.id.in_(host_ids)).execute()


def add(repository_id: str, *, host_id: str, hostname: str = "web1", now: datetime = cast.NOW) -> None:
    """Two snapshots of a host, and the listing that told of them."""
    for snapshot_id, age in ((ID, 1), (OLDER_ID, 2)):
        Snapshot.create(
            repository=repository_id, id=snapshot_id, time=now - timedelta(days=age), hostname=hostname,
            username="root", paths=["/etc", "/srv"], tags=["files"], total_bytes=10**9, total_files=1234,
            data_added=10**6, listing_id="1",
        )  # fmt: skip
    SnapshotListing.insert(
        repository=repository_id, listing_id="1", taken_at=now, host_id=host_id, total=2
    ).on_conflict_replace().execute()
