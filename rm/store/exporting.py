"""The database as JSON lines that people and other programs can read: a file for each table, without secrets."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from sqlite3 import DatabaseError as DatabaseUnreadable
from typing import Any

from rm.errors import NotReady
from rm.shared import instants
from rm.store.backup_files import open_for_reading

__all__ = ["DatabaseUnreadable", "export"]

NOT_EXPORTED = frozenset(
    {
        "sessions", "user_links", "setup_links", "recovery_codes", "sign_in_steps", "oidc_logins", "idempotency_keys",
        "host_credentials",
    }
)  # fmt: skip
"""Tables that hold nothing but proofs of who somebody is."""
SECRET_ENDINGS = ("_sealed", "_hash")
MASKED_WORDS = ("secret", "token", "password", "hash", "url", "key_check")
"""In settings, whatever is named like this is left out: an address may carry a password."""
JSON_COLUMNS = ("[", "{")


def export(file: Path, directory: Path, *, now: datetime) -> dict[str, int]:
    """Write it all below a directory that is new or empty; how many rows of each table. Raises NotReady."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise NotReady(f"{directory} is not empty; name a new directory.")
    counts: dict[str, int] = {}
    with closing(open_for_reading(file)) as database:
        database.execute("BEGIN")  # one moment for all tables
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith("sqlite_") and name not in NOT_EXPORTED
        ]
        for table in tables:
            counts[table] = _write(directory / f"{table}.jsonl", _rows(database, table))
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        database.execute("COMMIT")
    about = {
        "exported_at": instants.to_text(now), "database_version": version, "rows": counts,
        "left_out": sorted(NOT_EXPORTED),
    }  # fmt: skip
    _write(directory / "export.json", iter([about]))
    return counts


def _rows(database: Connection, table: str) -> Iterator[dict[str, Any]]:
    cursor = database.execute(f"SELECT * FROM {table}")  # noqa: S608
    names = [description[0] for description in cursor.description]
    kept = [at for at, name in enumerate(names) if not name.endswith(SECRET_ENDINGS)]
    for row in cursor:
        found = {names[at]: _value(row[at]) for at in kept}
        if table == "settings":
            if _is_masked(str(found["name"])):
                continue
            found["value"] = _without_secrets(found["value"])
        yield found


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str) and value.startswith(JSON_COLUMNS):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(one) for name, one in value.items() if not _is_masked(name)}
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return value


def _is_masked(name: str) -> bool:
    return any(word in name.lower() for word in MASKED_WORDS)


def _write(file: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as out:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            out.write(line.encode("utf-8", "replace").decode() + "\n")
            count += 1
    return count
