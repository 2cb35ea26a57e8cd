"""What is true of snapshots and of the paths inside them, without asking anybody."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

STALE_AFTER = timedelta(hours=26)
LISTED_WITHIN = timedelta(minutes=10)
"""How long before its end a backup lists the snapshots, where its begin is not known."""

MAX_PATH = 8192
MAX_PATHS = 200
MAX_PATHS_LENGTH = 200_000
MAX_TEXT = 200

OLDER_THAN_BACKUP = "older_than_backup"
TOO_OLD = "too_old"


@dataclass(frozen=True)
class GoodBackup:
    """When the last good backup ended, and when it began, if that is known."""

    ended_at: datetime
    began_at: datetime | None = None


def why_stale(*, taken_at: datetime, last_good: GoodBackup | None, now: datetime) -> str:
    """Why a listing may no longer be true: OLDER_THAN_BACKUP or TOO_OLD; empty while it is fresh.

    A backup lists the snapshots before it ends, so its own listing is from after its begin.
    """
    if last_good is not None and taken_at < (last_good.began_at or last_good.ended_at - LISTED_WITHIN):
        return OLDER_THAN_BACKUP
    return TOO_OLD if now - taken_at > STALE_AFTER else ""


def path_problem(path: str) -> str:
    """What is wrong with a path inside a snapshot; empty for a good one."""
    if not path.startswith("/"):
        return "A path inside a snapshot begins with /."
    if len(path) > MAX_PATH:
        return f"A path has at most {MAX_PATH:,} characters."
    if "\0" in path or any(part in (".", "..") for part in path.split("/")):
        return "That cannot be a path inside a snapshot."
    if len(path) > 1 and (path.endswith("/") or "//" in path):
        return "A path has one / between its names, and none at its end."
    return ""


def paths_problem(paths: Iterable[str]) -> str:
    """What is wrong with the paths that are to be restored; empty for good ones."""
    chosen = list(paths)
    if len(chosen) > MAX_PATHS:
        return f"Choose at most {MAX_PATHS} files and folders at once; a folder brings all that is in it."
    if sum(len(path) for path in chosen) > MAX_PATHS_LENGTH:
        return "The names are too long together. Choose the folder that they are in."
    return next((problem for path in chosen if (problem := path_problem(path))), "")


def without_inner(paths: Iterable[str]) -> list[str]:
    """The paths in their order, but for those that another one brings anyway."""
    chosen = list(dict.fromkeys(paths))
    known = set(chosen)
    return [path for path in chosen if not any(outer in known for outer in parents(path))]


def parents(path: str) -> list[str]:
    """The folders that a path is in, "/" first; none for "/" itself."""
    names = [part for part in path.split("/") if part]
    return ["/" + "/".join(names[:depth]) for depth in range(len(names))]


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder."""
    return f"{folder.rstrip('/')}/{name}"
