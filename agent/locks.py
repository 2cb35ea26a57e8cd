"""Locks in a repository, the ledger of this agent's own restics, and the proof that a lock's owner is gone."""

import dataclasses
import json
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from agent import clock, durable
from agent.platform import linux
from rm.shared import instants

log = logging.getLogger("agent.locks")

KEEP_ENTRIES = 200
SLACK_SECONDS = 2.0
# Restic takes a lock for stale that was not renewed for 30 minutes; clocks of hosts differ a little.
STALE_SECONDS = 25 * 60.0

SHARED = ("backup", "restore", "diff")
EXCLUSIVE = ("check", "prune", "forget")


@dataclass(frozen=True)
class Lock:
    """A lock that some restic holds, or left behind; `at` is its time in seconds since 1970, 0 when not known."""

    id: str
    hostname: str = ""
    pid: int = 0
    since: str = ""
    is_exclusive: bool = False
    at: float = 0.0

    def __str__(self) -> str:
        kind = "exclusive lock" if self.is_exclusive else "lock"
        owner = f" of {self.hostname}, process {self.pid}, since {self.since}" if self.hostname else ""
        return f"{kind} {self.id[:8]}{owner}"


def parse(lock_id: str, text: str) -> Lock:
    """A lock as `restic cat lock` prints it; only its id if that cannot be read."""
    try:
        raw = json.loads(text)
        return Lock(
            id=lock_id,
            hostname=str(raw.get("hostname") or "")[:253],
            pid=int(raw.get("pid") or 0),
            since=str(raw.get("time") or "")[:19],
            is_exclusive=raw.get("exclusive") is True,
            at=_seconds(str(raw.get("time") or "")),
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        return Lock(id=lock_id)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return 0.0
    fraction = (found[2] or "")[:6].ljust(6, "0")
    return instants.from_text(f"{found[1]}.{fraction}{found[3]}").timestamp()


def blocks(kind: str, lock: Lock) -> bool:
    """Whether a job of that kind must wait for the lock's end."""
    return kind in EXCLUSIVE or (kind in SHARED and lock.is_exclusive)


def is_stale_for_restic(lock: Lock, *, hostname: str, now: float) -> bool:
    """Whether `restic unlock`, run on this host now, may remove the lock, whoever holds it; True in doubt."""
    if not lock.hostname or not lock.at or now - lock.at > STALE_SECONDS:
        return True
    return lock.hostname == hostname and linux.start_time(lock.pid) is None


# ---- the ledger -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A restic that this agent started: a pid counts only with its start time and the boot it belongs to."""

    pid: int
    started: str
    boot_id: str
    job_id: str
    started_at: str
    ended_at: str = ""


class Ledger:
    """The restics that this agent has started, kept on the disk; the newest 200."""

    def __init__(self, path: Path) -> None:
        self._file = durable.KeptFile(path)
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """All of them, the oldest first."""
        with self._lock:
            return self._load()

    def note(self, entry: Entry) -> None:
        """Keep a restic that runs, before the repository can hold a lock of it for long."""
        with self._lock:
            found = self._load()
            if any(_same(entry, one) for one in found):
                return
            self._save([*found, entry])

    def ended(self, job_id: str) -> None:
        """The job's restic is gone; a lock made later cannot be its."""
        with self._lock:
            found = self._load()
            if any(one.job_id == job_id and not one.ended_at for one in found):
                now = clock.now()
                self._save(
                    [
                        dataclasses.replace(one, ended_at=now) if one.job_id == job_id and not one.ended_at else one
                        for one in found
                    ]
                )

    def _load(self) -> list[Entry]:
        found = []
        raw = self._file.load().get("restics")
        for item in raw if isinstance(raw, list) else []:
            try:
                found.append(Entry(**item))
            except TypeError:
                continue
        return found

    def _save(self, entries: list[Entry]) -> None:
        try:
            self._file.save({"restics": [dataclasses.asdict(one) for one in entries[-KEEP_ENTRIES:]]})
        except OSError as error:
            log.warning("The ledger of started restics cannot be written: %s", error)


def _same(one: Entry, other: Entry) -> bool:
    return (one.pid, one.started, one.boot_id) == (other.pid, other.started, other.boot_id)


# ---- the proof --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What the proof needs to know of this host."""

    hostname: str
    boot_id: str

    @classmethod
    def here(cls) -> "Machine":
        return cls(linux.hostname(), linux.boot_id())

    def start_time(self, pid: int) -> str | None:
        return linux.start_time(pid)

    def started_seconds(self, pid: int) -> float | None:
        """When the process that has the pid now was started, in seconds since 1970."""
        return linux.start_moment(pid)


def proof(lock: Lock, entries: Sequence[Entry], machine: Machine) -> str | None:
    """Why the lock's owner is certainly gone, as a sentence; None when that is not proven."""
    if lock.hostname != machine.hostname or lock.pid <= 0 or not lock.at:
        return None
    for entry in reversed(entries):
        if entry.pid == lock.pid and _covers(entry, lock.at):
            return _end_of(entry, lock, machine)
    return None


def _covers(entry: Entry, at: float) -> bool:
    """Whether the lock was made while the ledger's restic could live."""
    try:
        begin = instants.from_text(entry.started_at).timestamp()
        end = instants.from_text(entry.ended_at).timestamp() if entry.ended_at else None
    except ValueError:
        return False
    return begin - SLACK_SECONDS <= at and (end is None or at <= end + SLACK_SECONDS)


def _end_of(entry: Entry, lock: Lock, machine: Machine) -> str | None:
    present = machine.start_time(entry.pid)
    same_boot = entry.boot_id == machine.boot_id
    if present is not None:
        if same_boot and present == entry.started:
            return None
        # Another process has the number by now; it could be a restic too, and the lock be its.
        its_start = machine.started_seconds(entry.pid)
        if its_start is None or its_start - SLACK_SECONDS <= lock.at:
            return None
    gone = "is gone" if same_boot else "ended with the start of this host that it belonged to"
    reused = "; another process has its number now" if present is not None else ""
    return (
        f"its process {entry.pid} on this host was the restic that this agent started for job {entry.job_id} at"
        f" {_for_people(entry.started_at)}, and that process {gone}{reused}"
    )


def _for_people(instant: str) -> str:
    return instant[:19].replace("T", " ") + " UTC"


def now_seconds() -> float:
    """This moment in seconds since 1970."""
    return datetime.now(timezone.utc).timestamp()


def names(found: Sequence[Lock], *, most: int = 3) -> str:
    """The first locks in words."""
    told = ", ".join(f"the {lock}" for lock in found[:most])
    return told + (f" and {len(found) - most} more" if len(found) > most else "")
