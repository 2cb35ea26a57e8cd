"""Compares what a restore left on the disk with what the snapshot says: that it is there, its kind and its size."""

import contextlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import entries
from agent.contents import Contents, Count
from agent.entries import Entry
from agent.restic_output import human_bytes

TOLD = 10
MAX_CANDIDATES = 64
MAX_ODD_NAMES = 100_000
KEPT_FOLDERS = 16
_LOST = "\N{REPLACEMENT CHARACTER}"
_IS = {
    "file": stat.S_ISREG, "dir": stat.S_ISDIR, "symlink": stat.S_ISLNK,
    "fifo": stat.S_ISFIFO, "dev": stat.S_ISBLK, "chardev": stat.S_ISCHR,
}  # fmt: skip


@dataclass
class Comparison:
    """What was compared; `told` are the first few differences in words."""

    checked: Count = field(default_factory=Count)
    right: Count = field(default_factory=Count)
    mismatches: int = 0
    told: list[str] = field(default_factory=list)


class Verification:
    """Goes through a selection once, one entry at a time."""

    def __init__(self, contents: Contents, target: str) -> None:
        self._contents = contents
        self._root = os.fsencode(target.rstrip("/"))
        self._odd: OrderedDict[bytes, dict[str, list[bytes]]] = OrderedDict()
        self.found = Comparison()

    def run(self, is_over: Callable[[], bool], tell: Callable[[Comparison], None]) -> Comparison:
        """All differences; `tell` hears of each entry. Raises NotReadable and OutOfTime."""
        for entry in self._contents.walk(is_over):
            # Restic keeps no sockets: they come back when their program starts.
            if entry.type not in _IS:
                continue
            self._take(entry)
            tell(self.found)
        return self.found

    def _take(self, entry: Entry) -> None:
        found = self.found
        trouble = self._trouble(entry)
        found.checked.entries += 1
        if entry.type == "file":
            for count in (found.checked,) if trouble else (found.checked, found.right):
                count.files += 1
                count.bytes += entry.size
        if trouble:
            found.mismatches += 1
            if len(found.told) < TOLD:
                found.told.append(f"{entry.path}: {trouble}")

    def _trouble(self, entry: Entry) -> str:
        """What is wrong with the entry on the disk; empty when nothing is."""
        places = [self._root + os.fsencode(entry.path)] if entry.is_exact else self._places(entry.path)
        troubles = [_compare(place, entry) for place in places] or ["is not there"]
        return "" if "" in troubles else troubles[0]

    def _places(self, path: str) -> list[bytes]:
        """Where a name may be whose bytes restic could not tell."""
        places = [self._root]
        for name in path.split("/")[1:]:
            if _LOST in name:
                places = [place + b"/" + odd for place in places for odd in self._odd_names(place).get(name, [])]
            else:
                places = [place + b"/" + os.fsencode(name) for place in places]
            places = places[:MAX_CANDIDATES]
        return places

    def _odd_names(self, folder: bytes) -> dict[str, list[bytes]]:
        """The names in a folder that restic shows otherwise than they are, by what it shows."""
        if folder in self._odd:
            return self._odd[folder]
        found: dict[str, list[bytes]] = {}
        with contextlib.suppress(OSError), os.scandir(folder) as listing:
            for item in listing:
                shown = entries.as_restic_shows(item.name)
                if _LOST in shown and len(found) < MAX_ODD_NAMES:
                    found.setdefault(shown, []).append(item.name)
        self._odd[folder] = found
        if len(self._odd) > KEPT_FOLDERS:
            self._odd.popitem(last=False)
        return found


def _compare(place: bytes, entry: Entry) -> str:
    try:
        seen = os.lstat(place)
    except OSError as error:
        return "is not there" if isinstance(error, FileNotFoundError) else f"cannot be looked at ({error.strerror})"
    if not _IS[entry.type](seen.st_mode):
        return "is of another kind"
    if entry.type == "file" and seen.st_size != entry.size:
        return f"has {human_bytes(seen.st_size)} ({seen.st_size}) instead of {human_bytes(entry.size)} ({entry.size})"
    return ""
