"""How many files a source group usually has, so that a mount that is empty today is not taken for a good backup."""

import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from agent import durable, restic_output
from rm.shared.protocol import CommandRun
from rm.shared.words import counted

log = logging.getLogger("agent.usual")

RUNS = 5
LEAST_FILES = 10
ACCEPTED_AFTER = 7


@dataclass(frozen=True)
class Size:
    """What one run has found: files and bytes."""

    files: int
    bytes: int

    @classmethod
    def of(cls, summary: dict[str, Any]) -> "Size | None":
        """The size in restic's summary of a backup, None when it names none."""
        if "total_files_processed" not in summary:
            return None
        files, size = (summary.get(name) for name in ("total_files_processed", "total_bytes_processed"))
        return cls(restic_output.number(files), restic_output.number(size))


class Usual:
    """The last good runs of each group; a group whose includes or excludes changed begins anew."""

    def __init__(self, path: Path) -> None:
        self._file = durable.KeptFile(path)
        self._lock = threading.Lock()

    def judge(self, order: CommandRun, found: Size, *, is_good: bool) -> str:
        """A warning when the run found fewer than half of the usual files, else nothing; the run is remembered.

        After seven such runs in a row the smaller number counts as usual, unless nothing at all was found.
        """
        key, scope = f"{order.repository_id} {order.source_group}", _scope(order)
        with self._lock:
            body = self._file.load()
            raw = body.get(key)
            before = _Memory.read(raw, scope)
            if isinstance(raw, dict) and raw.get("job_id") == order.job_id:
                # An agent before this one had judged the run and died before it could tell.
                return str(raw.get("text", ""))
            text, after = _judge(before, found, is_good=is_good)
            try:
                self._file.save(body | {key: after.plain(scope) | {"job_id": order.job_id, "text": text}})
            except OSError as error:
                log.warning("What is usual for %s cannot be written: %s", order.source_group, error)
        return text


@dataclass(frozen=True)
class _Memory:
    runs: tuple[Size, ...] = ()
    fewer: int = 0

    @classmethod
    def read(cls, raw: Any, scope: str) -> "_Memory":
        try:
            if raw["scope"] != scope:
                return cls()
            return cls(tuple(Size(int(files), int(size)) for files, size in raw["runs"][-RUNS:]), int(raw["fewer"]))
        except (KeyError, TypeError, ValueError):
            return cls()

    def plain(self, scope: str) -> dict[str, Any]:
        return {"scope": scope, "runs": [[one.files, one.bytes] for one in self.runs], "fewer": self.fewer}


def _judge(memory: _Memory, found: Size, *, is_good: bool) -> tuple[str, _Memory]:
    usual = int(median(one.files for one in memory.runs)) if memory.runs else 0
    if usual >= LEAST_FILES and found.files * 2 < usual:
        fewer = memory.fewer + 1
        size = int(median(one.bytes for one in memory.runs))
        text = (
            f"Only {counted(found.files, 'file')} ({restic_output.human_bytes(found.bytes)}) were found where usually"
            f" {usual:,} ({restic_output.human_bytes(size)}) are: an empty mount?"
        )
        if found.files and fewer >= ACCEPTED_AFTER:
            text += f" This was so {fewer} times in a row; from now on it counts as usual."
            return text, _Memory((found,))
        return text, _Memory(memory.runs, fewer)
    return "", _Memory((*memory.runs, found)[-RUNS:]) if is_good else memory


def _scope(order: CommandRun) -> str:
    text = json.dumps([sorted(order.includes), sorted(order.excludes)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
