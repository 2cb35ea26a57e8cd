"""Bringing a database file to the version that this program speaks."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rm.errors import NotReady
from rm.store.data_dir import give_to_owner_of

log = logging.getLogger(__name__)

SCHEMA_FILE = Path(__file__).parents[2] / "schema.sql"
MIGRATIONS_DIR = Path(__file__).parent / "migrations"


def schema_version(schema: str) -> int:
    """The version that a schema text ends with."""
    found = re.search(r"PRAGMA user_version = (\d+);", schema)
    if found is None:
        raise ValueError("the schema names no user_version")
    return int(found.group(1))


def migrate(
    file: Path, *, now: datetime, schema: str | None = None, migrations_dir: Path = MIGRATIONS_DIR
) -> Path | None:
    """Create the database or migrate it in one transaction; returns the copy made before a migration, if any.

    Raises NotReady for a database that a newer program wrote, or that is not one of ours; the file is left as it was.
    """
    schema = SCHEMA_FILE.read_text() if schema is None else schema
    wanted = schema_version(schema)
    _make_private(file)
    connection = sqlite3.connect(file, isolation_level=None, timeout=5)
    try:
        found = _read_version(connection, file)
        if found == wanted:
            return None
        if found > wanted:
            raise NotReady(
                f"{file} was written by a newer restic-manager "
                f"(database version {found}, this program knows {wanted}). "
                "Start the newer program, or restore the backup made before its upgrade."
            )
        if found == 0:
            _run(connection, [schema], wanted)
            return None
        copy = file.with_name(f"{file.name}.before-{wanted}-{now:%Y%m%dT%H%M%SZ}")
        _copy(connection, copy)
        _run(connection, [path.read_text() for path in _steps(migrations_dir, found, wanted)], wanted)
        log.info("migrated the database from version %s to %s; the copy before is %s", found, wanted, copy.name)
        return copy
    finally:
        connection.close()


def _make_private(file: Path) -> bool:
    """An empty file for SQLite, its owner's alone whatever the umask of who starts it; False if it is there."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    give_to_owner_of(file.parent, file)
    return True


def _copy(connection: sqlite3.Connection, copy: Path) -> None:
    is_ours = _make_private(copy)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error:
        # Half a copy is none, and a server that is started again and again would leave one each time. What was there
        # before is whole, of a start in the same second: SQLite writes over nothing.
        if is_ours:
            copy.unlink(missing_ok=True)
        raise


def _read_version(connection: sqlite3.Connection, file: Path) -> int:
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise NotReady(f"{file} is not a database, or is damaged: {error}. It was not touched.") from error
    if version == 0 and tables:
        raise NotReady(f"{file} holds tables that are not restic-manager's. It was not touched.")
    return version


def _steps(directory: Path, found: int, wanted: int) -> list[Path]:
    steps = {int(path.name[:4]): path for path in directory.glob("[0-9][0-9][0-9][0-9]_*.sql")}
    missing = [number for number in range(found + 1, wanted + 1) if number not in steps]
    if missing:
        raise NotReady(f"The migration to database version {missing[0]} is missing from this installation.")
    return [steps[number] for number in range(found + 1, wanted + 1)]


def _run(connection: sqlite3.Connection, scripts: list[str], version: int) -> None:
    connection.execute("PRAGMA journal_mode = wal")
    # Rebuilding a parent table with foreign keys on would cascade into its children; the PRAGMA is
    # a no-op inside a transaction.
    connection.execute("PRAGMA foreign_keys = off")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in scripts:
            for statement in statements(script):
                connection.execute(statement)
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise NotReady(f"The migration to {version} would break references in {broken[0][0]}; nothing was changed.")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; executescript would commit the transaction around it."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if pending.strip() and not all(line.strip().startswith("--") or not line.strip() for line in pending.splitlines()):
        raise ValueError(f"unfinished statement: {pending.strip()[:80]}")
