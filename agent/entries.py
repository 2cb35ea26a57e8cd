"""One file, folder or link of a snapshot, as restic's JSON tells of it."""

import json
import re
import stat
from dataclasses import dataclass
from typing import Any

from agent import restic_output

TYPES = ("file", "dir", "symlink")

# Restic writes a byte that is no UTF-8 as this escape, and a true U+FFFD as itself; so the two can be told apart.
_LOST_BYTE = re.compile(rb"(?<!\\)(?:\\\\)*\\ufffd")
# The bits as Go has them.
_GO_BITS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))
_DECODER = json.JSONDecoder()
_KINDS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}
_KINDS |= {"dev": stat.S_IFBLK, "chardev": stat.S_IFCHR, "socket": stat.S_IFSOCK}


@dataclass(frozen=True)
class Entry:
    """An entry; without `is_exact` its path holds bytes that JSON cannot carry, shown as U+FFFD."""

    path: str
    type: str
    size: int
    mtime: str
    mode: int
    target: str
    is_exact: bool

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def for_people(self) -> dict[str, Any]:
        """The entry as an answer carries it."""
        try:
            mtime: str | None = restic_output.instant(self.mtime)
        except (ValueError, OverflowError):
            mtime = None
        return {
            "name": self.name,
            "path": self.path,
            "type": self.type if self.type in TYPES else "other",
            "size": self.size if self.type == "file" else None,
            "mtime": mtime,
            "mode": self._mode_text(),
            "target": self.target,
            "selectable": self.is_exact,
        }

    def _mode_text(self) -> str:
        """The mode as `ls -l` shows it, from the bits as Go has them."""
        bits = self.mode & 0o777
        for mark, bit in _GO_BITS:
            bits |= bit if self.mode & mark else 0
        return stat.filemode(bits | _KINDS.get(self.type, 0))


def parse(raw: bytes) -> Entry | None:
    """The entry in a line of `restic ls --json`; None for anything else."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return _entry(found, raw) if isinstance(found, dict) else None


def parse_match(raw: bytes) -> Entry | None:
    """The entry at the beginning of a piece of what `restic find` prints; None when there is none."""
    try:
        text = raw.decode("utf-8", "replace")
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return _entry(found, text[:end].encode()) if isinstance(found, dict) else None


def _entry(found: dict[str, Any], raw: bytes) -> Entry | None:
    if not isinstance(found.get("path"), str):
        return None
    return Entry(
        path=found["path"],
        type=str(found.get("type", "")),
        size=restic_output.number(found.get("size")),
        mtime=str(found.get("mtime", "")),
        mode=restic_output.number(found.get("mode")),
        target=str(found.get("linktarget") or ""),
        is_exact=_LOST_BYTE.search(raw) is None,
    )


def as_restic_shows(name: bytes) -> str:
    """A name of the disk as restic's JSON has it: U+FFFD for each byte that is no UTF-8."""
    text = name.decode("utf-8", "surrogateescape")
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
