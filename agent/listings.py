"""Folders of snapshots that were listed a moment ago, in files: the next page needs no restic."""

import hashlib
import os
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.platform import linux

MAX_LISTINGS = 64
MAX_BYTES = 512 * 1024 * 1024
MAX_LISTING_BYTES = 256 * 1024 * 1024
KEEP_FREE_BYTES = 256 * 1024 * 1024
KEEP_SECONDS = 900.0
_OFFSET = 8

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Listing:
    """A listed folder: a file of lines, and one of the places where they begin, folders first."""

    lines: Path
    index: Path
    total: int
    size: int
    is_cut: bool
    made_at: float

    def page(self, offset: int, limit: int) -> list[bytes]:
        """So many lines from there on; raises OSError when the files are gone."""
        places = array("Q")
        with open(self.index, "rb") as index, open(self.lines, "rb") as lines:
            index.seek(offset * _OFFSET)
            places.frombytes(index.read(max(0, min(limit, self.total - offset)) * _OFFSET))
            found = []
            for place in places:
                lines.seek(place)
                found.append(lines.readline())
        return found

    def remove(self) -> None:
        self.lines.unlink(missing_ok=True)
        self.index.unlink(missing_ok=True)


class Listings:
    """At most 64 listings and 512 MiB; the one that was not asked for the longest goes first."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Listing] = OrderedDict()
        self._number = 0

    def clear(self) -> None:
        """Remove what an agent before this one has left; makes the directory. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        for path in self._directory.iterdir():
            path.unlink()

    def find(self, key: Key) -> Listing | None:
        """The listing, None when there is none or when it is older than a quarter of an hour."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            if self._monotonic() - found.made_at > KEEP_SECONDS:
                self._kept.pop(key).remove()
                return None
            self._kept.move_to_end(key)
            return found

    def new(self, key: Key) -> "Writer":
        """Where a new listing is written to; raises OSError."""
        with self._lock:
            self._number += 1
            name = hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return Writer(self._directory / f"{name}-{self._number}")

    def keep(self, key: Key, writer: "Writer") -> Listing:
        """Finish a listing and keep it; others go for it when there are too many. Raises OSError."""
        listing = writer.finish(made_at=self._monotonic())
        with self._lock:
            before = self._kept.pop(key, None)
            if before:
                before.remove()
            self._kept[key] = listing
            while len(self._kept) > MAX_LISTINGS or sum(one.size for one in self._kept.values()) > MAX_BYTES:
                if len(self._kept) == 1:
                    break
                self._kept.popitem(last=False)[1].remove()
        return listing


class Writer:
    """Takes the lines of one folder; holds eight bytes of memory for each."""

    def __init__(self, stem: Path) -> None:
        self._lines = stem.with_suffix(".lines")
        self._index = stem.with_suffix(".index")
        handle = os.open(self._lines, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(handle, "wb", buffering=1024 * 1024)
        self._size = 0
        self._folders, self._others = array("Q"), array("Q")
        self._most = min(MAX_LISTING_BYTES, linux.free_bytes(stem.parent) - KEEP_FREE_BYTES)
        self.is_full = False

    def add(self, line: bytes, *, is_folder: bool) -> None:
        """One line, in the order of names; left out when the listing is too large, which `is_full` says then."""
        if self._size + len(line) + 1 > self._most:
            self.is_full = True
            return
        (self._folders if is_folder else self._others).append(self._size)
        self._file.write(line + b"\n")
        self._size += len(line) + 1

    def finish(self, *, made_at: float) -> Listing:
        """The listing as it can be read; raises OSError."""
        self._file.close()
        handle = os.open(self._index, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            self._folders.tofile(file)
            self._others.tofile(file)
        total = len(self._folders) + len(self._others)
        return Listing(self._lines, self._index, total, self._size + total * _OFFSET, self.is_full, made_at)

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._lines.unlink(missing_ok=True)
        self._index.unlink(missing_ok=True)
