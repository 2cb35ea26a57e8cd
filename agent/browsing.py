"""Looks into snapshots: a folder page by page, names that hold a text, how much a selection holds."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

from agent import contents, entries
from agent.contents import Contents, NotReadable
from agent.lines import OutOfTime
from agent.listings import Key, Listing, Listings, Writer
from agent.repository import Repository

MAX_ENTRIES = 500
MAX_ANSWER_BYTES = 700_000
MAX_TEXT = 200

TOO_SLOW = "restic did not read this in time. Ask again: what it has read is kept on the host and need not be fetched."
PATH_GONE = "There is no such file or folder in this snapshot."

_NODE = b'"struct_type":"node"'
_FOLDER = b'"type":"dir"'
_FOUND = b'{"path":'
# What restic's patterns are made of; a backslash takes each of them at its word.
_SPECIAL = frozenset("\\*?[]")


def pattern(text: str) -> str:
    """A text as a pattern of restic that matches itself and nothing else."""
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in text)


class Browsing:
    """Answers from restic, or from the listing that it gave a moment ago."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    def ls(
        self, repository: Repository, parameters: dict[str, Any], is_over: Callable[[], bool]
    ) -> dict[str, Any]:  # fmt: skip
        """A page of a folder, folders first; raises NotReadable and OutOfTime."""
        snapshot_id = contents.checked_snapshot(parameters.get("snapshot_id"))
        path = contents.checked_path(parameters.get("path") or "/")
        offset, limit = _whole(parameters.get("offset"), 0), _whole(parameters.get("limit"), MAX_ENTRIES)
        key = (repository.config.id, snapshot_id, path)
        found = self._listings.find(key)
        raw: list[bytes] | None = None
        if found is not None:
            raw = self._page(found, offset, limit)
        if found is None or raw is None:
            found = self._list(repository, key, is_over)
            raw = self._page(found, offset, limit) or []
        shown = _fitting(raw)
        return {
            "path": path,
            "entries": shown,
            "offset": offset,
            "total": found.total,
            "is_cut": found.is_cut,
        }

    def _page(self, listing: Listing, offset: int, limit: int) -> list[bytes] | None:
        try:
            return listing.page(offset, min(max(limit, 1), MAX_ENTRIES))
        except OSError:
            return None

    def _list(self, repository: Repository, key: Key, is_over: Callable[[], bool]) -> Listing:
        try:
            writer = self._listings.new(key)
            try:
                self._write(writer, repository, key, is_over)
                return self._listings.keep(key, writer)
            except BaseException:
                writer.discard()
                raise
        except OSError as error:
            text = f"The host cannot keep the list of this folder ({error.strerror}). Free some space there."
            raise NotReadable("disk_full", text) from error

    def _write(self, writer: Writer, repository: Repository, key: Key, is_over: Callable[[], bool]) -> None:
        _, snapshot_id, path = key
        is_there = path == "/"
        for raw in contents.listed(repository, snapshot_id, [path], is_recursive=False, is_over=is_over):
            if _NODE not in raw:
                continue
            if not is_there:
                is_there = self._is_head(raw, path)
                continue
            # Quotes inside of a name are escaped, so this can only be the field itself.
            writer.add(raw, is_folder=_FOLDER in raw)
        if not is_there:
            raise NotReadable("path_gone", PATH_GONE)

    def _is_head(self, raw: bytes, path: str) -> bool:
        """Whether the line is the folder that was asked for, which restic names before what is in it."""
        head = entries.parse(raw)
        if head is None or head.path != path:
            return False
        if head.type != "dir":
            raise NotReadable("not_a_folder", "This is not a folder; the folder above it shows it.")
        return True

    def find(
        self, repository: Repository, parameters: dict[str, Any], is_over: Callable[[], bool]
    ) -> dict[str, Any]:  # fmt: skip
        """The entries whose name holds a text, or whose path does if it has a slash; raises NotReadable."""
        snapshot_id = contents.checked_snapshot(parameters.get("snapshot_id"))
        text = str(parameters.get("text") or "").strip("/")
        if not text or len(text) > MAX_TEXT or "\0" in text:
            raise NotReadable("bad_request", f"Search for 1 to {MAX_TEXT} characters of a name.")
        limit = min(max(_whole(parameters.get("limit"), MAX_ENTRIES), 1), MAX_ENTRIES)
        wanted, is_path = text.lower(), "/" in text
        call = ["find", "--json", "--no-lock", "--ignore-case", "--snapshot", snapshot_id, f"*{pattern(text)}*"]
        found: list[dict[str, Any]] = []
        size = 0
        is_cut = False
        try:
            with closing(contents.spoken(repository, call, is_over=is_over, separator=_FOUND)) as pieces:
                for piece in pieces:
                    entry = entries.parse_match(_FOUND + piece)
                    # Restic also names all that is below a folder that matches.
                    if entry is None or wanted not in (entry.path if is_path else entry.name).lower():
                        continue
                    shown = entry.for_people()
                    size += _size(shown)
                    if len(found) >= limit or size > MAX_ANSWER_BYTES:
                        is_cut = True
                        break
                    found.append(shown)
        except OutOfTime:
            is_cut = True
        return {"entries": found, "is_cut": is_cut}

    def sizes(
        self, repository: Repository, parameters: dict[str, Any], is_over: Callable[[], bool]
    ) -> dict[str, Any]:  # fmt: skip
        """How much a selection holds, hard links counted each; `is_cut`: at least so much. Raises NotReadable."""
        snapshot_id = contents.checked_snapshot(parameters.get("snapshot_id"))
        paths = contents.checked_paths(parameters.get("paths") or [])
        selection = Contents(repository, snapshot_id, paths)
        count, is_whole = selection.count(is_over)
        return {
            "files": count.files,
            "bytes": count.bytes,
            "is_cut": not is_whole,
            "missing": sorted(selection.missing)[:10] if is_whole else [],
        }


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _fitting(raw: list[bytes]) -> list[dict[str, Any]]:
    """As many of the entries as an answer may hold; the next page begins after them."""
    shown: list[dict[str, Any]] = []
    size = 0
    for line in raw:
        entry = entries.parse(line)
        if entry is None:
            continue
        one = entry.for_people()
        size += _size(one)
        if shown and size > MAX_ANSWER_BYTES:
            break
        shown.append(one)
    return shown


def _size(one: dict[str, Any]) -> int:
    return len(json.dumps(one))
