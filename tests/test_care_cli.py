"""`flask --app app rm backup|restore|export|check` as an operator types it, also where the server cannot start."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rm.care_cli import is_wanted
from rm.config import Settings
from rm.services import jobs
from rm.shared.protocol import JobStarted
from rm.store import checking, database
from rm.store.data_dir import DataDirLock
from rm.store.migrate import SCHEMA_FILE, schema_version, statements
from tests import cast
from tests.cast import BOB, NOW

ROOT = Path(__file__).parents[1]
Rm = Callable[..., tuple[int, str]]


@pytest.fixture
def rm(settings: Settings) -> Rm:
    """rm("check") → (exit code, everything that was said), in a process of its own."""

    def rm(*arguments: object) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "rm", *map(str, arguments)], cwd=ROOT, text=True,
            env={"PATH": os.environ["PATH"], "RM_DATA_DIR": str(settings.data_dir)}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=110, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return rm


@pytest.fixture
def backup(app, bus, vault, web1, rm: Rm, tmp_path: Path) -> Path:
    """A backup of a database with a host, a repository and an open job; then the database goes on."""
    group = cast.give_repository(bus, vault, web1)
    queued = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    running = jobs.order(bus, host_id=web1.id, kind="check", actor=BOB, now=NOW)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=running.id), now=NOW)
    file = tmp_path / "backup.db"
    code, said = rm("backup", "--to", file)
    assert code == 0, said
    cast.add_host(bus, "since")
    database.close_database()
    assert queued.id != running.id
    return file


def rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as opened:
        return opened.execute(query).fetchall()


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute(statement)


def test_a_restore_brings_the_backup_and_keeps_the_present_database_aside(backup, rm, settings) -> None:
    code, said = rm("restore", backup)

    assert code == 0, said
    assert rows(settings.database_file, "SELECT name FROM hosts") == [("web1",)]
    [aside] = settings.data_dir.glob("restic-manager.db.before-restore-*")
    assert rows(aside, "SELECT count(*) FROM hosts") == [(2,)]
    assert str(aside) in said
    assert rm("check")[0] == 0


def test_a_restore_fits_what_it_brings_to_what_happened_since(backup, rm, settings) -> None:
    before = rows(backup, "SELECT config_version, schedule_version, update_epoch FROM hosts")[0]

    assert rm("restore", backup)[0] == 0

    host = rows(settings.database_file, "SELECT config_version, schedule_version, update_epoch FROM hosts")[0]
    assert all(now > 1_700_000_000 > was for now, was in zip(host, before, strict=True))
    jobs_now = rows(settings.database_file, "SELECT state, dispatched_at IS NOT NULL FROM jobs")
    assert jobs_now == [("running", 1), ("running", 1)], "each is asked about, none is started"
    assert rows(settings.database_file, "SELECT count(*) FROM sessions") == [(0,)]
    assert rows(settings.database_file, "SELECT count(*) FROM server_backups WHERE is_ok IS NULL") == [(0,)]
    assert rows(settings.database_file, "SELECT action FROM audit_entries ORDER BY id DESC LIMIT 1") == [
        ("server.restored",)
    ]


def test_the_log_of_the_old_database_is_never_played_into_the_new_one(backup, rm, settings) -> None:
    with closing(sqlite3.connect(settings.database_file, isolation_level=None)) as killed:
        killed.execute("UPDATE hosts SET name = 'only in the log'")
        kept = {suffix: Path(f"{settings.database_file}{suffix}").read_bytes() for suffix in ("-wal", "-shm")}
    for suffix, content in kept.items():
        Path(f"{settings.database_file}{suffix}").write_bytes(content)

    assert rm("restore", backup)[0] == 0

    assert rows(settings.database_file, "SELECT name FROM hosts") == [("web1",)]
    [aside] = [one for one in settings.data_dir.glob("*.before-restore-*") if not one.name.endswith("-wal")]
    assert set(rows(aside, "SELECT name FROM hosts")) == {("only in the log",)}


def test_a_restore_is_refused_while_a_server_runs_there(backup, rm, settings) -> None:
    lock = DataDirLock(settings.data_dir)
    code, said = rm("restore", backup)
    lock.release()

    assert (code, "already runs" in said) == (1, True)
    assert rows(settings.database_file, "SELECT count(*) FROM hosts") == [(2,)]


def _damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xff" * 20_000
    file.write_bytes(content)


def _newer(file: Path) -> None:
    change(file, "PRAGMA user_version = 999")


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def _strange(file: Path) -> None:
    file.write_bytes(b"no database at all " * 500)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_damage, ("damaged", "malformed")), (_newer, ("newer restic-manager",)), (_cut, ("malformed", "damaged")),
     (_strange, ("not a database",)), (Path.unlink, ("There is no file",))],
)  # fmt: skip
def test_a_file_that_is_no_good_is_refused_and_nothing_is_changed(backup, rm, settings, spoil, words) -> None:
    before = settings.database_file.read_bytes()
    spoil(backup)

    code, said = rm("restore", backup)

    assert code == 1
    assert any(word in said for word in words), said
    assert settings.database_file.read_bytes() == before
    assert not list(settings.data_dir.glob("*.restoring*"))


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_key_file_that_does_not_fit_is_refused_with_what_that_means(backup, rm, settings, is_lost) -> None:
    settings.secret_key_file.unlink()
    if not is_lost:
        settings.secret_key_file.write_text("A" * 43 + "=\n")

    code, said = rm("restore", backup)

    assert code == 1
    assert "can never be read" in said
    assert "Nothing was changed" in said
    assert settings.secret_key_file.exists() is not is_lost, "no key was made in its place"


def test_a_backup_of_an_older_version_is_brought_to_the_present_one(backup, rm, settings, tmp_path) -> None:
    older = tmp_path / "older.db"
    with closing(sqlite3.connect(older, isolation_level=None)) as made:
        for statement in statements((ROOT / "tests" / "schema" / "schema_0001.sql").read_text()):
            made.execute(statement)
    settings.database_file.unlink()

    code, said = rm("restore", older)

    assert code == 0, said
    wanted = schema_version(SCHEMA_FILE.read_text())
    assert f"from database version 1 to {wanted}" in said
    assert rows(settings.database_file, "PRAGMA user_version") == [(wanted,)]
    assert rows(older, "PRAGMA user_version") == [(1,)], "the backup itself stays as it was"


def test_a_restore_works_where_the_database_is_damaged_or_gone(backup, rm, settings) -> None:
    _strange(settings.database_file)
    assert rm("check")[0] == 1
    assert rm("restore", backup)[0] == 0
    settings.database_file.unlink()
    assert rm("restore", backup)[0] == 0
    assert rm("check") == (0, f"{settings.database_file} is whole, and the key file opens every secret in it.\n")


def test_check_finds_what_is_wrong(backup, rm, settings) -> None:
    file = settings.database_file
    change(file, "UPDATE repositories SET password_sealed = x'01'")
    code, said = rm("check")
    assert (code, "repositories.password_sealed" in said) == (1, True)
    change(file, "DROP INDEX hosts_list")
    change(file, "CREATE TABLE theirs (id INTEGER)")
    change(file, "INSERT INTO host_tags (host_id, tag) VALUES ('nobody', 'x')")
    code, said = rm("check")
    for words in ("lacks the index hosts_list", "the table theirs, which is not ours", "row of host_tags speaks"):
        assert words in said
    assert code == 1


def test_check_knows_every_sealed_column_of_the_schema() -> None:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(SCHEMA_FILE.read_text())
        sealed = fresh.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND c.name LIKE '%\\_sealed' ESCAPE '\\'"
        ).fetchall()

    assert {(table, column) for table, column, _ in checking.SEALED} == set(sealed)


def test_check_looks_for_each_sealed_value_at_the_place_that_it_is_bound_to() -> None:
    from rm.services import credentials, oidc, repositories, schedule_sets, second_factor, sending

    ours = {(table, column): pattern for table, column, pattern in checking.SEALED}
    row = {"id": "I", "repository_id": "R", "slot": "everyday", "credential_hash": "H", "state_hash": "S"}
    found = {key: pattern.format(**row) for key, pattern in ours.items()}

    assert found == {
        ("repositories", "password_sealed"): repositories._password_place("I"),
        ("repository_credentials", "secret_sealed"): repositories._secret_place("R", "everyday"),
        ("source_groups", "pre_shell_sealed"): schedule_sets.shell_place("I", "pre_shell"),
        ("source_groups", "post_shell_sealed"): schedule_sets.shell_place("I", "post_shell"),
        ("host_credentials", "plain_sealed"): credentials._place("H"),
        ("users", "totp_sealed"): second_factor._place("I"),
        ("oidc_logins", "verifier_sealed"): oidc._place("S"),
        ("channels", "url_sealed"): sending.url_place("I"),
        ("channels", "secret_sealed"): sending.secret_place("I"),
    }


def test_an_export_is_readable_and_holds_no_secret(backup, rm, settings, web1, tmp_path) -> None:
    target = tmp_path / "export"

    code, said = rm("export", target)

    assert code == 0, said
    text = "".join(file.read_text() for file in target.iterdir())
    hosts = [json.loads(line) for line in (target / "hosts.jsonl").read_text().splitlines()]
    assert {host["name"] for host in hosts} == {"web1", "since"}
    assert isinstance(hosts[0]["features"], list)
    sealed = rows(settings.database_file, "SELECT hex(password_sealed) FROM repositories")[0][0]
    for secret in ("repo-secret", "backend-secret", web1.credential_hash, "argon2", str(sealed), "key_check"):
        assert secret not in text
    assert json.loads((target / "export.json").read_text())["rows"]["hosts"] == 2
    assert {file.stat().st_mode & 0o777 for file in target.iterdir()} == {0o600}
    assert rm("export", target)[0] == 1, "never into a directory that holds something"


def test_a_copy_of_a_file_that_a_log_belongs_to_is_restored_with_it(backup, rm, settings, tmp_path) -> None:
    place = tmp_path / "copied"
    place.mkdir()
    with closing(sqlite3.connect(settings.database_file, isolation_level=None)) as opened:
        opened.execute("PRAGMA wal_autocheckpoint = 0")
        opened.execute("UPDATE hosts SET name = name || ' in the log'")
        for suffix in ("", "-wal"):
            shutil.copy(f"{settings.database_file}{suffix}", place / f"restic-manager.db{suffix}")

    assert rm("restore", place / "restic-manager.db")[0] == 0

    assert ("web1 in the log",) in rows(settings.database_file, "SELECT name FROM hosts")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["flask", "--app", "app", "rm", "restore", "x"], True), (["flask", "--app", "app", "rm", "check"], True),
        (["flask", "--app", "app", "rm", "backup"], False), (["gunicorn", "app:app"], False),
        (["flask", "--app", "app", "rm", "create-admin", "--username", "check"], False),
    ],
)  # fmt: skip
def test_only_commands_on_the_files_alone_do_without_the_application(typed: list[str], found: bool) -> None:
    assert is_wanted(typed) is found
