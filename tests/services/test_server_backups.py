"""Backups of the server's own database, made while it is used."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rm.domain.server_backups import Plan
from rm.errors import Conflict, Gone, Invalid
from rm.services import server_backups
from rm.store import alerts, backup_files, kept_settings
from rm.store import server_backups as stored
from rm.store.backup_files import BackupFailed
from rm.store.database import changes
from rm.store.models import AuditEntry, ServerBackup, Setting
from tests.cast import ALICE, NOW

DAY = timedelta(days=1)


@pytest.fixture
def back_up(bus, parts, settings):
    """back_up(**more) → the row of a backup that was just made."""

    def back_up(**more: Any) -> ServerBackup:
        return server_backups.run(
            bus, database_file=settings.database_file, data_dir=settings.data_dir, actor=more.pop("actor", None),
            clock=parts.clock, offload=parts.offload, **more,
        )  # fmt: skip

    return back_up


def files(settings) -> list[str]:
    return sorted(path.name for path in (settings.data_dir / "backups").glob("*"))


def open_alert() -> Any:
    return alerts.find_open("server_backup_failed", "server")


def test_a_backup_is_a_whole_database_that_only_the_server_can_read(back_up, settings, web1, db1) -> None:
    made = back_up()

    file = Path(made.file)
    with closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT count(*) FROM hosts").fetchone()[0] == 2
        assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert (made.is_ok, made.size_bytes, made.message) == (
        True, file.stat().st_size, "Holds 2 hosts, 0 repositories, 0 jobs.",
    )  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert files(settings) == [file.name], "nothing half lies beside it"


def test_the_key_file_is_not_in_a_backup(back_up, settings) -> None:
    made = back_up()

    assert settings.secret_key_file.read_bytes().strip() not in Path(made.file).read_bytes()


def test_only_the_newest_are_kept(back_up, bus, settings, clock) -> None:
    server_backups.save_plan(
        bus, wanted=Plan(every_hours=24, keep=2), data_dir=settings.data_dir, actor=ALICE, now=NOW
    )  # fmt: skip
    names = []
    for _ in range(4):
        clock.now += DAY
        names.append(Path(back_up().file).name)

    assert files(settings) == sorted(names[2:])
    assert [bool(row.removed_at) for row in ServerBackup.select().order_by(ServerBackup.started_at)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_copy_that_was_made_elsewhere_is_never_removed(back_up, bus, settings, clock, tmp_path) -> None:
    server_backups.save_plan(bus, wanted=Plan(keep=1), data_dir=settings.data_dir, actor=ALICE, now=NOW)
    mine = tmp_path / "mine.db"
    back_up(to=mine)
    clock.now += DAY
    back_up()

    assert mine.exists()
    clock.now += DAY
    with pytest.raises(BackupFailed, match="never overwrites"):
        back_up(to=mine)


def test_a_failure_is_told_and_leaves_the_old_ones_and_success_ends_it(back_up, settings, clock, monkeypatch) -> None:
    good = back_up()
    assert open_alert() is None

    clock.now += DAY
    with monkeypatch.context() as patched:
        patched.setattr(backup_files, "verify", lambda *_, **__: _fail())
        with pytest.raises(BackupFailed):
            back_up()
    assert files(settings) == [Path(good.file).name]
    assert "is damaged" in open_alert().message
    assert server_backups.next_at(clock.now) == clock.now + timedelta(minutes=15)

    clock.now += timedelta(minutes=15)
    back_up()
    assert open_alert() is None


def _fail() -> Any:
    raise BackupFailed("it is damaged")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for less than one backup."""
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=512k none {_made(tmp_path / 'small')} 2>/dev/null"):
        pytest.skip("needs to mount a small file system")
    yield tmp_path / "small"
    os.system(f"umount -l {tmp_path / 'small'}")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@pytest.mark.parametrize("is_foreseen", [True, False])
def test_a_full_disk_leaves_no_half_file(back_up, bus, settings, small_disk, monkeypatch, is_foreseen) -> None:
    if not is_foreseen:
        monkeypatch.setattr(backup_files, "_refuse_without_room", lambda *_: None)
    wanted = Plan(directory=str(small_disk))
    server_backups.save_plan(bus, wanted=wanted, data_dir=settings.data_dir, actor=ALICE, now=NOW)

    with pytest.raises(BackupFailed) as caught:
        back_up()

    assert list(small_disk.iterdir()) == []
    assert ("needs about" if is_foreseen else "became full") in caught.value.message
    assert open_alert().message == caught.value.message


def test_writers_are_not_held_up_while_a_copy_is_made(back_up, parts, settings, bus) -> None:
    """A write lands while the copy is under way: a transaction held by it would make this one fail."""
    done = []

    def beside(function, *arguments):
        with changes():
            kept_settings.put("written.meanwhile", True)
        done.append(function(*arguments))
        return done[0]

    server_backups.run(
        bus, database_file=settings.database_file, data_dir=settings.data_dir, actor=None, clock=parts.clock,
        offload=beside,
    )  # fmt: skip
    assert done
    assert Setting.select().where(Setting.name == "written.meanwhile").exists()


def test_only_one_is_made_at_a_time(back_up, parts, settings, bus) -> None:
    caught = []

    def beside(function, *arguments):
        with pytest.raises(Conflict) as found:
            back_up()
        caught.append(found.value.code)
        return function(*arguments)

    server_backups.run(
        bus, database_file=settings.database_file, data_dir=settings.data_dir, actor=None, clock=parts.clock,
        offload=beside,
    )  # fmt: skip
    assert caught == ["backup_running"]


def test_an_old_newest_backup_is_told_once_and_ends_with_the_next(back_up, bus, clock) -> None:
    back_up()
    server_backups.watch(bus, now=clock.now)
    for hours in (47, 1.1, 1):
        clock.now += timedelta(hours=hours)
        server_backups.watch(bus, now=clock.now)
    assert (open_alert().count, "is of 2026-11-23 12:00 UTC" in open_alert().message) == (1, True)

    back_up()
    assert open_alert() is None


def test_that_none_was_ever_made_is_told_after_two_intervals(bus) -> None:
    server_backups.watch(bus, now=NOW)
    server_backups.watch(bus, now=NOW + timedelta(hours=47))
    assert open_alert() is None
    server_backups.watch(bus, now=NOW + timedelta(hours=48))
    assert "was never made" in open_alert().message


def test_what_a_killed_server_was_making_counts_as_failed(bus) -> None:
    ServerBackup.create(id="b", file="/srv/x.db", started_at=NOW)

    server_backups.settle_unfinished(now=NOW)

    assert stored.get("b").is_ok is False


def test_parts_of_killed_makers_are_removed_and_those_of_living_ones_are_not(back_up, settings) -> None:
    directory = settings.data_dir / "backups"
    directory.mkdir(mode=0o700)
    old, fresh = directory / "restic-manager-1.db.part", directory / "restic-manager-2.db.part"
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))

    back_up()

    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_changed_plan_is_recorded_with_before_and_after(bus, settings) -> None:
    server_backups.save_plan(bus, wanted=Plan(every_hours=6), data_dir=settings.data_dir, actor=ALICE, now=NOW)

    entry = AuditEntry.get(AuditEntry.action == "settings.changed")
    assert (entry.payload["before"]["every_hours"], entry.payload["after"]["every_hours"]) == (24, 6)


@pytest.mark.parametrize("place", ["static", "static/copies", "."])
def test_no_copy_goes_where_the_program_is_and_the_world_may_read(bus, settings, place) -> None:
    wanted = Plan(directory=str(server_backups.PROGRAM / place))

    with pytest.raises(Invalid) as caught:
        server_backups.save_plan(bus, wanted=wanted, data_dir=settings.data_dir, actor=ALICE, now=NOW)

    assert "program's own" in caught.value.fields["directory"]


def test_a_directory_that_cannot_be_used_is_said_beside_the_field(bus, settings, tmp_path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Invalid) as caught:
        server_backups.save_plan(
            bus, wanted=Plan(directory=str(tmp_path / "file" / "x")), data_dir=settings.data_dir, actor=ALICE, now=NOW
        )

    assert "cannot be used" in caught.value.fields["directory"]


def test_a_download_is_recorded_and_a_file_that_is_gone_is_said(back_up) -> None:
    made = back_up()
    server_backups.to_download(backup_id=made.id, actor=ALICE, now=NOW)
    assert AuditEntry.select().where(AuditEntry.action == "server_backup.downloaded").count() == 1

    with suppress(FileNotFoundError):
        Path(made.file).unlink()
    with pytest.raises(Gone):
        server_backups.to_download(backup_id=made.id, actor=ALICE, now=NOW)
