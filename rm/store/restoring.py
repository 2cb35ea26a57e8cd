"""Putting a backup in the place of the database: prepared beside it, swapped in one step, with the old one kept."""

import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rm.errors import NotReady
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.store import backup_files, checking
from rm.store.backup_files import BackupFailed
from rm.store.migrate import SCHEMA_FILE, migrate, schema_version

MARK = "server.restored"
_BESIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Prepared:
    """A database that is ready to take the place of another one."""

    file: Path
    taken_at: datetime
    from_version: int
    version: int
    hosts: int
    jobs_to_ask: int


def prepare(backup: Path, database_file: Path, key_file: Path, *, now: datetime) -> Prepared:
    """A verified, migrated and marked copy of a backup beside the database, which is not touched.

    Raises NotReady for what cannot be restored; nothing is left behind then.
    """
    if not backup.is_file():
        raise NotReady(f"There is no file {backup}.")
    if database_file.exists() and os.path.samefile(backup, database_file):
        raise NotReady(f"{backup} is the present database, not a backup of it.")
    part = database_file.with_name(f"{database_file.name}.restoring")
    _discard(part)
    try:
        _copy(backup, part)
        wanted = schema_version(SCHEMA_FILE.read_text())
        found = backup_files.verify(part)
        if found.version > wanted:
            raise NotReady(
                f"{backup.name} was written by a newer restic-manager (database version {found.version}, this program"
                f" knows {wanted}). Restore it with that program, or with a newer one."
            )
        before = migrate(part, now=now)
        if before is not None:
            before.unlink()
        with closing(sqlite3.connect(part, isolation_level=None)) as database:
            trouble = checking.broken_references(database)
            if trouble:
                raise NotReady(f"{backup.name} is not consistent: {trouble[0]}")
            _refuse_other_key(database, key_file)
            taken_at = _taken_at(database, fallback=datetime.fromtimestamp(backup.stat().st_mtime, now.tzinfo))
            asked = _mark(database, backup, taken_at=taken_at, now=now)
            hosts = int(database.execute("SELECT count(*) FROM hosts").fetchone()[0])
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("PRAGMA journal_mode = delete")
        _hand_over(part)
        backup_files.sync(part)
        return Prepared(part, taken_at, found.version, wanted, hosts, asked)
    except BackupFailed as error:
        _discard(part)
        raise NotReady(error.message) from error
    except (OSError, sqlite3.Error) as error:
        _discard(part)
        raise NotReady(f"{backup} cannot be restored: {error}. The present database was not touched.") from error
    except BaseException:
        _discard(part)
        raise


def swap(prepared: Prepared, database_file: Path, *, now: datetime) -> Path | None:
    """Put it in place; returns where the database of before is kept now, with what its log held."""
    aside = None
    if database_file.exists():
        aside = database_file.with_name(f"{database_file.name}.before-restore-{now:%Y%m%dT%H%M%SZ}")
        if aside.exists():
            raise NotReady(f"{aside} exists already; nothing was changed.")
        _fold_in(database_file)
        for suffix in ("", "-wal"):
            _keep(Path(f"{database_file}{suffix}"), Path(f"{aside}{suffix}"))
        backup_files.sync(database_file.parent)
    # a log of the old database would be played into the new one
    for suffix in _BESIDE:
        Path(f"{database_file}{suffix}").unlink(missing_ok=True)
    os.rename(prepared.file, database_file)
    backup_files.sync(database_file.parent)
    return aside


def _copy(backup: Path, part: Path) -> None:
    """Also of a file that a running server's log belongs to, if that lies beside it."""
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    wal = Path(f"{backup}-wal")
    is_at_rest = not wal.exists() or wal.stat().st_size == 0
    with (
        closing(backup_files.open_for_reading(backup, is_at_rest=is_at_rest)) as source,
        closing(sqlite3.connect(part, isolation_level=None)) as target,
    ):
        source.backup(target)


def _refuse_other_key(database: sqlite3.Connection, key_file: Path) -> None:
    trouble = checking.key_trouble(database, key_file, is_quick=True)
    if trouble:
        raise NotReady(
            f"{trouble[0]} Without the right key file the passwords of all repositories in this backup, and the URLs"
            " of its channels, can never be read. Nothing was changed. Put the key file of that time in place, or point"
            " RM_SECRET_KEY_FILE at it."
        )


def _taken_at(database: sqlite3.Connection, *, fallback: datetime) -> datetime:
    """When the backup was begun: a copy of the server's own holds the row about itself."""
    row = database.execute("SELECT max(started_at) FROM server_backups WHERE is_ok IS NULL").fetchone()
    found = row[0] or database.execute("SELECT max(at) FROM audit_entries").fetchone()[0]
    return instants.from_text(found) if found else fallback


def _mark(database: sqlite3.Connection, backup: Path, *, taken_at: datetime, now: datetime) -> int:
    """Make it fit what happened since; returns how many jobs the hosts are asked about."""
    at, seconds = instants.to_text(now), int(now.timestamp())
    database.execute("BEGIN IMMEDIATE")
    # Agents hold sets and saw orders that this database does not know. Whatever it sends must be newer than those,
    # and the same version must never stand for two contents.
    database.execute(
        "UPDATE hosts SET config_version = max(config_version + 1, ?1),"
        " schedule_version = max(schedule_version + 1, ?1), update_epoch = max(update_epoch + 1, ?1),"
        " connected_at = NULL",
        (seconds,),
    )
    # Each may have run since: the host is asked what became of it, and never told to start it.
    asked = database.execute(
        "UPDATE jobs SET state = 'running', dispatched_at = coalesce(dispatched_at, ?1), last_sign_at = ?1,"
        " waits_for = '' WHERE state <> 'finished' AND kind <> 'update'",
        (at,),
    ).rowcount
    # Who was signed in then may have been signed out since, and a link may have been used.
    for table in ("sessions", "sign_in_steps", "oidc_logins", "user_links", "setup_links", "idempotency_keys"):
        database.execute(f"DELETE FROM {table}")  # noqa: S608
    database.execute("UPDATE enrolment_tokens SET revoked_at = ?1 WHERE revoked_at IS NULL AND expires_at > ?1", (at,))
    paused = database.execute(
        "UPDATE fleet_updates SET state = 'paused', reason = ? WHERE state = 'running' RETURNING id",
        ("The server was restored from a backup. Look at its hosts, then resume it or close it.",),
    ).fetchall()
    database.executemany(
        "INSERT INTO fleet_update_events (fleet_update_id, at, kind, actor, text) VALUES (?, ?, 'paused', 'server',"
        " 'Paused: the server was restored from a backup.')",
        [(fleet_update_id, at) for (fleet_update_id,) in paused],
    )
    _know_files(database, backup, now=now)
    body = {"at": at, "taken_at": instants.to_text(taken_at), "file": backup.name, "is_settled": False}
    database.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (MARK, json.dumps(body)))
    database.execute(
        "INSERT INTO audit_entries (at, actor_kind, actor_name, action, target_kind, target_name, payload)"
        " VALUES (?, 'server', 'server', 'server.restored', 'server_backup', ?, ?)",
        (at, backup.name, json.dumps({"taken_at": body["taken_at"], "jobs_to_ask": asked})),
    )
    database.execute("COMMIT")
    return asked


def _know_files(database: sqlite3.Connection, backup: Path, *, now: datetime) -> None:
    """List the backups that lie beside this one and were made after it; each is verified first."""
    known = {row[0] for row in database.execute("SELECT file FROM server_backups WHERE is_ok = 1")}
    database.execute("DELETE FROM server_backups WHERE is_ok IS NULL")
    for file in sorted(backup.absolute().parent.glob(f"{backup_files.PREFIX}*{backup_files.SUFFIX}")):
        if str(file) in known or not file.is_file():
            continue
        made = instants.to_text(datetime.fromtimestamp(file.stat().st_mtime, now.tzinfo))
        try:
            found = backup_files.verify(file)
        except BackupFailed:
            continue
        database.execute(
            "INSERT INTO server_backups (id, file, started_at, ended_at, size_bytes, sha256, is_ok, message)"
            " VALUES (?, ?, ?, ?, ?, ?, 1, 'Found beside the backup that was restored.')",
            (new_ulid(), str(file), made, made, found.size_bytes, found.sha256),
        )


def _fold_in(database_file: Path) -> None:
    """Bring what a server that was killed left in the log into the file, if that can still be done."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database_file, isolation_level=None, timeout=5)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _keep(file: Path, aside: Path) -> None:
    if not file.exists():
        return
    try:
        os.link(file, aside)
    except OSError:
        shutil.copy2(file, aside)


def _hand_over(part: Path) -> None:
    """To whom the data directory belongs: root may restore, and the server runs as somebody else."""
    if os.geteuid() == 0:
        owner = part.parent.stat()
        for file in (part, part.parent / "server.lock"):
            if file.exists():
                os.chown(file, owner.st_uid, owner.st_gid)


def _discard(part: Path) -> None:
    for suffix in ("", *_BESIDE):
        Path(f"{part}{suffix}").unlink(missing_ok=True)
