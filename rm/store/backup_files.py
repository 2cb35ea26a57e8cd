"""Copies of the database as files: made online, verified by opening them, and whole or not at all."""

import hashlib
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rm.errors import RmError
from rm.store.migrate import SCHEMA_FILE, schema_version

PREFIX, SUFFIX, PART = "restic-manager-", ".db", ".part"
COUNTED = ("hosts", "repositories", "users", "jobs")
LEFT_OVER_SECONDS = 3600
CHUNK = 1024 * 1024


class BackupFailed(RmError):
    """A copy that could not be made, or is no good; the message says why in one sentence."""

    status = 503
    code = "server_backup_failed"


@dataclass(frozen=True)
class Verified:
    """What was found in a file that is a whole database of ours."""

    size_bytes: int
    sha256: str
    version: int
    counts: dict[str, int]
    last_audit_id: int


def make(source: Path, target: Path) -> Verified:
    """Copy the database of a running server to `target`, which appears only once it was verified and is on the disk.

    It holds up no writer. Call it away from the event loop; raises BackupFailed and then leaves nothing behind.
    """
    part = target.with_name(target.name + PART)
    is_ours = False
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_left_overs(target.parent)
        _refuse_overwriting(target)
        with closing(open_for_reading(source)) as database:
            _refuse_without_room(database, target.parent)
            known = _last_audit_id(database)
            # made before SQLite does, which would let others read it
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            is_ours = True
            database.execute("VACUUM INTO ?", (str(part),))
        found = verify(part, version=schema_version(SCHEMA_FILE.read_text()))
        if found.last_audit_id < known:
            raise BackupFailed("The copy lacks entries that the database has; it was removed.")
        sync(part)
        os.rename(part, target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(_why(error)) from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm") if is_ours else ():
            with suppress(OSError):
                part.with_name(part.name + suffix).unlink()
    return found


def verify(file: Path, *, version: int | None = None) -> Verified:
    """What a backup holds, once SQLite found it whole; `version` is the one it must have. Raises BackupFailed."""
    try:
        with closing(open_for_reading(file, is_at_rest=True)) as database:
            found = int(database.execute("PRAGMA user_version").fetchone()[0])
            problem = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if problem != "ok":
                raise BackupFailed(f"{file.name} is damaged: {str(problem)[:300]}")
            if not found or (version is not None and found != version):
                raise BackupFailed(f"{file.name} has database version {found}, not {version or 'one of ours'}.")
            counts = {
                table: int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
                for table in COUNTED
            }
            last_audit_id = _last_audit_id(database)
        return Verified(file.stat().st_size, _hashed(file), found, counts, last_audit_id)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"{file.name}: {_why(error)}") from error


def open_for_reading(file: Path, *, is_at_rest: bool = False) -> sqlite3.Connection:
    """A connection that cannot write; `is_at_rest`: nobody writes the file, so it is read without its log."""
    extra = "&immutable=1" if is_at_rest else ""
    return sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?mode=ro{extra}", uri=True, isolation_level=None, timeout=10
    )


def _refuse_overwriting(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise BackupFailed(f"{target} exists already; a backup never overwrites.")


def _refuse_without_room(database: sqlite3.Connection, directory: Path) -> None:
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    needed = (pages - free) * size
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < needed:
        raise BackupFailed(
            f"The disk of {directory} has {disk.f_bavail * disk.f_frsize // 2**20:,} MiB free, and the copy needs about"
            f" {needed // 2**20 + 1:,} MiB. The older backups were kept."
        )


def _remove_left_overs(directory: Path) -> None:
    """Parts of which the maker was killed; one that is being written was changed a moment ago."""
    for left in directory.glob(f"{PREFIX}*{SUFFIX}{PART}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_OVER_SECONDS:
                left.unlink()


def _last_audit_id(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(id), 0) FROM audit_entries").fetchone()[0])


def _hashed(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as data:
        while chunk := data.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def sync(path: Path) -> None:
    """Have the disk keep what was written to a file, or which names a directory has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: Exception) -> str:
    text = str(error)
    if "disk is full" in text or getattr(error, "errno", None) == 28:
        return "The disk became full; the half copy was removed and the older backups were kept."
    if isinstance(error, PermissionError):
        return f"The server may not write there: {text}"
    return text[:500] or type(error).__name__
