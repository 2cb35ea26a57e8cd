"""schema.sql, the migrations and the models describe the same database."""

import os
import re
import resource
import sqlite3
from pathlib import Path

import pytest

from rm.errors import NotReady
from rm.store.migrate import MIGRATIONS_DIR, SCHEMA_FILE, migrate, schema_version, statements
from rm.store.models import MODELS
from tests.cast import NOW


def shape(file: Path) -> dict[str, object]:
    connection = sqlite3.connect(file)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if not name.startswith("sqlite_")
    ]
    found: dict[str, object] = {}
    for table in tables:
        found[table] = {
            "columns": connection.execute(f"SELECT * FROM pragma_table_xinfo('{table}')").fetchall(),
            "references": connection.execute(f"SELECT * FROM pragma_foreign_key_list('{table}')").fetchall(),
            "indexes": sorted(
                (name, unique, origin)
                for _, name, unique, origin, _ in connection.execute(f"SELECT * FROM pragma_index_list('{table}')")
            ),
        }
    triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    found["triggers"] = connection.execute(triggers).fetchall()
    connection.close()
    return found


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    file = tmp_path / "fresh.db"
    migrate(file, now=NOW)
    return file


def test_every_model_has_exactly_the_columns_of_its_table(database_file):
    connection = sqlite3.connect(database_file)

    for model in MODELS:
        rows = connection.execute(f"SELECT name, \"notnull\", pk FROM pragma_table_xinfo('{model._meta.table_name}')")
        columns = {name: bool(notnull) for name, notnull, _ in rows}
        fields = {field.column_name: not field.null for field in model._meta.sorted_fields}

        assert fields == columns, model.__name__


def test_every_table_has_a_model(database_file):
    tables = set(shape(database_file)) - {"triggers"}

    assert tables == {model._meta.table_name for model in MODELS}


def test_every_foreign_key_of_the_schema_is_one_of_the_models(database_file):
    connection = sqlite3.connect(database_file)

    for model in MODELS:
        listed = connection.execute(f"SELECT * FROM pragma_foreign_key_list('{model._meta.table_name}')")
        in_schema = {(row[3], row[2], row[6]) for row in listed}
        in_model = {
            (field.column_name, field.rel_model._meta.table_name, field.on_delete or "NO ACTION")
            for field in model._meta.refs
        }
        assert in_model == in_schema, model.__name__


def test_every_table_is_strict():
    tables = re.findall(r"CREATE TABLE .*?\n\)([^;]*);", SCHEMA_FILE.read_text(), re.DOTALL)

    assert len(tables) == len(MODELS)
    assert all("STRICT" in options for options in tables)


def test_the_migrations_lead_to_the_schema(tmp_path, database_file):
    steps = sorted(MIGRATIONS_DIR.glob("[0-9]*.sql"))

    assert [int(step.name[:4]) for step in steps] == list(range(2, schema_version(SCHEMA_FILE.read_text()) + 1))


def test_a_database_of_a_newer_program_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "newer.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = file.read_bytes()

    with pytest.raises(NotReady, match="newer restic-manager"):
        migrate(file, now=NOW)

    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "garbage.db"
    file.write_bytes(b"not a database " * 100)

    with pytest.raises(NotReady, match="not a database"):
        migrate(file, now=NOW)

    assert file.read_bytes() == b"not a database " * 100


def test_somebody_elses_database_is_refused(tmp_path):
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.commit()
    connection.close()

    with pytest.raises(NotReady, match="not restic-manager's"):
        migrate(file, now=NOW)


def test_a_migration_copies_the_file_first_and_keeps_the_data(tmp_path):
    file, steps = old_database(tmp_path, "ALTER TABLE things ADD COLUMN size INTEGER;")

    copy = migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)

    assert copy is not None
    assert sqlite3.connect(copy).execute("PRAGMA user_version").fetchone() == (1,)
    assert sqlite3.connect(file).execute("SELECT name, size FROM things").fetchall() == [("kept", None)]


def test_the_database_and_its_copy_are_for_their_owner_alone_whatever_the_umask(tmp_path):
    os.umask(0)
    fresh = tmp_path / "fresh.db"
    file, steps = old_database(tmp_path, "SELECT 1;")

    migrate(fresh, now=NOW)
    copy = migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)
    connection = sqlite3.connect(fresh)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("INSERT INTO settings (name, value) VALUES ('a', '1')")

    assert copy is not None
    assert {one.stat().st_mode & 0o777 for one in (copy, *tmp_path.glob("fresh.db*"))} == {0o600}
    assert len(list(tmp_path.glob("fresh.db*"))) == 3


def test_a_copy_that_does_not_fit_is_removed_and_the_file_is_left_alone(tmp_path):
    file, steps = old_database(tmp_path, "SELECT 1;")
    before = file.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    try:
        with pytest.raises(sqlite3.Error):
            migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert file.read_bytes() == before
    assert list(tmp_path.glob("*before*")) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_migrates_belongs_to_whom_the_directory_belongs(tmp_path):
    file, steps = old_database(tmp_path, "SELECT 1;")
    os.chown(tmp_path, 10001, 10001)

    copy = migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)

    assert copy is not None
    assert (copy.stat().st_uid, copy.stat().st_gid) == (10001, 10001)


def test_the_copy_of_an_earlier_start_in_the_same_second_is_left_alone(tmp_path):
    file, steps = old_database(tmp_path, "INSERT INTO nowhere VALUES (1);")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)

    [copy] = tmp_path.glob("*before*")
    assert sqlite3.connect(copy).execute("SELECT * FROM things").fetchall() == [("kept",)]


def test_a_migration_that_fails_half_way_changes_nothing(tmp_path):
    file, steps = old_database(tmp_path, "ALTER TABLE things ADD COLUMN size INTEGER; INSERT INTO nowhere VALUES (1);")

    with pytest.raises(sqlite3.OperationalError):
        migrate(file, now=NOW, schema="PRAGMA user_version = 2;", migrations_dir=steps)

    assert sqlite3.connect(file).execute("PRAGMA user_version").fetchone() == (1,)
    assert sqlite3.connect(file).execute("SELECT * FROM things").fetchall() == [("kept",)]


def test_a_missing_migration_is_named(tmp_path):
    file, steps = old_database(tmp_path, "SELECT 1;")

    with pytest.raises(NotReady, match="migration to database version 3"):
        migrate(file, now=NOW, schema="PRAGMA user_version = 3;", migrations_dir=steps)


def test_statements_keeps_triggers_in_one_piece():
    script = "CREATE TABLE a (b);\nCREATE TRIGGER t BEFORE DELETE ON a\nBEGIN SELECT 1; SELECT 2; END;\n-- the end\n"

    assert len(list(statements(script))) == 2


def old_database(tmp_path: Path, migration: str) -> tuple[Path, Path]:
    file, steps = tmp_path / "old.db", tmp_path / "steps"
    connection = sqlite3.connect(file)
    connection.executescript(
        "CREATE TABLE things (name TEXT); INSERT INTO things VALUES ('kept'); PRAGMA user_version = 1;"
    )
    connection.close()
    steps.mkdir()
    (steps / "0002_add_size.sql").write_text(migration.replace("; ", ";\n"))
    return file, steps


def test_a_database_of_the_first_version_becomes_the_present_one(tmp_path, database_file):
    old = tmp_path / "v1.db"
    first = sqlite3.connect(old)
    first.executescript((Path(__file__).parent / "schema_0001.sql").read_text())
    first.close()

    migrate(old, now=NOW)

    assert shape(old) == shape(database_file)


def test_hosts_of_the_version_before_keep_their_protection_until_they_are_judged(tmp_path):
    """A laptop's groups become a laptop's groups, too."""
    file, steps = tmp_path / "v3.db", tmp_path / "steps"
    steps.mkdir()
    for step in MIGRATIONS_DIR.glob("000[23]*.sql"):
        (steps / step.name).write_text(step.read_text())
    first = sqlite3.connect(file)
    first.executescript((Path(__file__).parent / "schema_0001.sql").read_text())
    first.close()
    migrate(file, now=NOW, schema="PRAGMA user_version = 3;", migrations_dir=steps)
    old, at = sqlite3.connect(file), "2026-11-23T12:00:00.123456Z"
    for name, mode, good in (("a", "always_on", at), ("b", "intermittent", None), ("c", "always_on", at)):
        old.execute(
            "INSERT INTO hosts (id, name, hostname, os, arch, mode, enrolled_at, last_good_at)"
            " VALUES (?1, ?1, ?1, 'linux', 'amd64', ?2, ?3, ?4)", (name, mode, at, good),
        )  # fmt: skip
        if name != "c":
            old.execute("INSERT INTO source_groups VALUES (?1, ?1, 'files', '[]', '[]', ?2, ?2)", (name, at))
    old.commit()
    old.close()

    migrate(file, now=NOW)

    new = sqlite3.connect(file)
    assert new.execute("SELECT id, protected_until FROM hosts ORDER BY id").fetchall() == [
        ("a", "2026-11-24T14:00:00.123000Z"), ("b", None), ("c", None),
    ]  # fmt: skip
    assert new.execute("SELECT id, mode FROM source_groups ORDER BY id").fetchall() == [
        ("a", "always_on"), ("b", "intermittent"),
    ]  # fmt: skip


def test_alerts_of_before_there_were_incidents_become_incidents_with_their_words_and_states(tmp_path):
    file = tmp_path / "old.db"
    connection = sqlite3.connect(file)
    older = [next(MIGRATIONS_DIR.glob(f"{number:04}_*.sql")) for number in range(2, 5)]
    for script in (Path(__file__).parent / "schema_0001.sql", *older):
        for statement in statements(script.read_text(encoding="utf-8")):
            connection.execute(statement)
    at = "2026-11-23T12:00:00.000000Z"
    connection.execute(
        "INSERT INTO hosts (id, name, hostname, os, arch, agent_version, agent_seq, machine_id, enrolled_at)"
        " VALUES ('h', 'web1', 'web1', 'linux', 'amd64', '1', 1, '', ?)",
        (at,),
    )
    for number, (kind, state, condition) in enumerate(
        [
            ("backup_failed", "resolved", "group:1"), ("backup_failed", "acknowledged", "group:1"),
            ("backup_missed", "raised", "group:1"), ("agent_offline", "raised", "host:h"),
            ("update_failed", "raised", "host:h"),
        ]
    ):  # fmt: skip
        connection.execute(
            "INSERT INTO alerts (id, kind, severity, state, condition, host_id, message, first_seen_at, last_seen_at,"
            " acknowledged_at, acknowledged_by) VALUES (?, ?, 'critical', ?, ?, 'h', 'No.', ?, ?, ?, ?)",
            (str(number), kind, state, condition, at, at, at if state == "acknowledged" else None, "bob"),
        )
    connection.commit()
    text = next(MIGRATIONS_DIR.glob("0005_*.sql")).read_text(encoding="utf-8")
    for statement in statements(text):
        connection.execute(statement)

    found = connection.execute(
        "SELECT cause, title, kind, state, open_count, message FROM incidents ORDER BY id"
    ).fetchall()
    members = connection.execute("SELECT count(*) FROM alerts WHERE incident_id = id").fetchone()

    assert found == [
        ("backup_failed/group:1", "Backup failed: web1", "backup_failed", "resolved", 0, "No."),
        ("backup_failed/group:1", "Backup failed: web1", "backup_failed", "acknowledged", 1, "No."),
        ("backup/group:1", "Backup missed: web1", "backup_missed", "raised", 1, "No."),
        ("host:h", "Agent offline: web1", "agent_offline", "raised", 1, "No."),
        ("update_failed/host:h", "Update failed: web1", "update_failed", "raised", 1, "No."),
    ]
    assert members == (5,)
    connection.close()
