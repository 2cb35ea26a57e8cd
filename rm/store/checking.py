"""Whether a database file is whole, is as this program expects it, and is opened by its key file; changes nothing."""

import base64
import sqlite3
from contextlib import closing
from pathlib import Path

from rm.errors import NotReady
from rm.store.backup_files import open_for_reading
from rm.store.migrate import SCHEMA_FILE, schema_version, statements
from rm.store.vault import UnsealError, Vault, read_key

SHOWN = 10
SEALED = (
    ("repositories", "password_sealed", "repositories:{id}:password"),
    ("repository_credentials", "secret_sealed", "repository_credentials:{repository_id}:{slot}"),
    ("source_groups", "pre_shell_sealed", "source_groups:{id}:pre_shell"),
    ("source_groups", "post_shell_sealed", "source_groups:{id}:post_shell"),
    ("host_credentials", "plain_sealed", "host_credentials.plain:{credential_hash}"),
    ("users", "totp_sealed", "users:{id}:totp_sealed"),
    ("oidc_logins", "verifier_sealed", "oidc_logins.verifier:{state_hash}"),
    ("channels", "url_sealed", "channels.url:{id}"),
    ("channels", "secret_sealed", "channels.secret:{id}"),
)
"""Every sealed column, and the place that its values are bound to; a test compares this with the schema."""


def trouble(file: Path, key_file: Path) -> list[str]:
    """Everything that is wrong, one sentence each; empty when all is well."""
    if not file.is_file():
        return [f"There is no database {file}."]
    try:
        with closing(open_for_reading(file)) as database:
            damage = _damage(database)
            if damage:
                return damage
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            wanted = schema_version(SCHEMA_FILE.read_text())
            if version != wanted:
                return [f"The database has version {version}; this program speaks {wanted}."]
            return [*broken_references(database), *_differences(database), *key_trouble(database, key_file)]
    except sqlite3.Error as error:
        return [f"{file} cannot be read: {error}"]


def broken_references(database: sqlite3.Connection) -> list[str]:
    """Rows that speak of rows that are not there."""
    found = database.execute("PRAGMA foreign_key_check").fetchmany(SHOWN)
    return [f"A row of {table} speaks of a row of {parent} that is not there." for table, _, parent, _ in found]


def key_trouble(database: sqlite3.Connection, key_file: Path, *, is_quick: bool = False) -> list[str]:
    """What the key file does not open; `is_quick`: only the mark that was made with it."""
    mark = database.execute("SELECT value FROM settings WHERE name = 'key_check'").fetchone()
    if mark is None and not _holds_sealed(database):
        return []
    try:
        vault = Vault(read_key(key_file))
    except NotReady as error:
        return [error.message]
    try:
        if mark is not None:
            vault.unseal(base64.b64decode(mark[0]), place="settings:key_check")
    except (UnsealError, ValueError):
        return [f"The key file {key_file} is not the one that this database was made with."]
    return [] if is_quick and mark is not None else _unopened(database, vault)


def _damage(database: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in database.execute(f"PRAGMA integrity_check({SHOWN})")]
    return [] if found == ["ok"] else [f"The database is damaged: {line}" for line in found]


def _differences(database: sqlite3.Connection) -> list[str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        for statement in statements(SCHEMA_FILE.read_text()):
            fresh.execute(statement)
        wanted, found = _shape(fresh), _shape(database)
    said = [f"The schema lacks {name}." for name in sorted(set(wanted) - set(found))]
    said += [f"The schema has {name}, which is not ours." for name in sorted(set(found) - set(wanted))]
    said += [
        f"The columns of {name} are not those that this program expects."
        for name in sorted(set(wanted) & set(found))
        if wanted[name] != found[name]
    ]
    return said[: 2 * SHOWN]


def _shape(database: sqlite3.Connection) -> dict[str, object]:
    named = database.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {
        f"the {kind} {name}": database.execute(
            'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?)', (name,)
        ).fetchall()
        if kind == "table"
        else None
        for kind, name in named
    }


def _holds_sealed(database: sqlite3.Connection) -> bool:
    return any(
        database.execute(f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1").fetchone()  # noqa: S608
        for table, column, _ in SEALED
    )


def _unopened(database: sqlite3.Connection, vault: Vault) -> list[str]:
    said = []
    for table, column, pattern in SEALED:
        cursor = database.execute(f"SELECT * FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
        names = [description[0] for description in cursor.description]
        for row in cursor:
            values = dict(zip(names, row, strict=True))
            try:
                vault.unseal(values[column], place=pattern.format(**values))
            except UnsealError as error:
                said.append(f"{error.message} It is in {table}.{column}.")
                if len(said) >= SHOWN:
                    return said
    return said
