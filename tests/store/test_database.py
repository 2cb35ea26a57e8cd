"""Transactions, and telling only after the commit."""

import threading

import pytest
from peewee import IntegrityError, OperationalError

from rm.errors import Unavailable
from rm.events import HostChanged
from rm.store import database
from rm.store.database import changes, connection, db, publish_after_commit
from rm.store.migrate import migrate
from rm.store.models import AuditEntry, Setting
from tests.cast import NOW


def test_an_event_is_told_after_the_commit(app, bus):
    with bus.subscribe() as listener:
        with changes():
            publish_after_commit(bus, HostChanged("h"))
            before = listener.take(timeout=0)

        assert (before, listener.take(timeout=0)) == ([], [HostChanged("h")])


def test_a_rollback_tells_nothing(app, bus):
    with bus.subscribe() as listener:
        with pytest.raises(RuntimeError), changes():
            publish_after_commit(bus, HostChanged("h"))
            raise RuntimeError

        assert listener.take(timeout=0) == []


def test_two_threads_that_read_and_then_write_do_not_lock_each_other_out(app):
    Setting.create(name="count", value="0")
    failures = []

    def count_up():
        try:
            with connection():
                for _ in range(20):
                    with changes():
                        row = Setting.get_by_id("count")
                        Setting.update(value=str(int(row.value) + 1)).where(Setting.name == "count").execute()
        except OperationalError as error:
            failures.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert failures == []
    assert Setting.get_by_id("count").value == "80"


def test_a_full_disk_is_a_clear_error_and_changes_nothing(app, tmp_path):
    pages = db.execute_sql("PRAGMA page_count").fetchone()[0]
    db.execute_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(Unavailable, match="disk is full"), changes():
        for number in range(500):
            Setting.create(name=f"filler {number}", value="x" * 2000)

    assert Setting.select().where(Setting.name.startswith("filler")).count() == 0
    db.execute_sql("PRAGMA max_page_count = 1000000")
    with changes():
        Setting.create(name="room again", value="")


def test_foreign_keys_are_enforced(app):
    with pytest.raises(IntegrityError):
        db.execute_sql("INSERT INTO host_tags (host_id, tag) VALUES ('nobody', 'x')")


def test_audit_entries_cannot_be_changed_or_deleted(app):
    entry = AuditEntry.create(at=NOW, actor_kind="server", actor_name="server", action="test.done")

    with pytest.raises(IntegrityError, match="append-only"):
        AuditEntry.update(action="other").where(AuditEntry.id == entry.id).execute()
    with pytest.raises(IntegrityError, match="append-only"):
        AuditEntry.delete().where(AuditEntry.id == entry.id).execute()


def test_a_connection_block_inside_another_shares_it(app):
    with connection():
        assert not db.is_closed()
    assert not database.db.is_closed()


def test_a_connection_is_kept_for_the_next_block_and_the_log_is_written_back_at_the_end(tmp_path):
    file = tmp_path / "a.db"
    migrate(file, now=NOW)
    database.open_database(file)
    with connection(), changes():
        Setting.create(name="a", value="1")
        first = db.connection()
    log = tmp_path / "a.db-wal"
    assert log.exists()

    with connection():
        assert db.connection() is first

    database.close_database()
    assert not log.exists()


def test_what_a_burst_of_readers_opened_is_closed_later_but_for_a_few(tmp_path):
    file = tmp_path / "a.db"
    migrate(file, now=NOW)
    database.open_database(file)
    together = threading.Barrier(10, timeout=60)

    def read():
        with connection():
            db.execute_sql("SELECT 1")
            together.wait()

    readers = [threading.Thread(target=read) for _ in range(10)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)

    assert len(db._connections) == 10
    database.close_surplus()
    # not its files: SQLite keeps those for the next connection
    assert len(db._connections) == len(db._to_this_file) == database.MAX_IDLE
    with connection():
        assert db.execute_sql("SELECT 1").fetchone() == (1,)
    database.close_database()
    assert len(db._to_this_file) == 0


def test_a_busy_wait_is_short_because_it_holds_up_the_whole_process(app):
    assert 100 <= db.execute_sql("PRAGMA busy_timeout").fetchone()[0] <= 500


def test_a_connection_that_comes_back_late_is_not_used_for_another_file(tmp_path):
    migrate(tmp_path / "first.db", now=NOW)
    migrate(tmp_path / "second.db", now=NOW)
    database.open_database(tmp_path / "first.db")
    is_held, may_end = threading.Event(), threading.Event()

    def hold():
        with database.connection():
            database.db.execute_sql("SELECT 1")
            is_held.set()
            may_end.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(60)
    database.open_database(tmp_path / "second.db")
    may_end.set()
    holder.join(60)

    with database.connection():
        [(_, _, file)] = database.db.execute_sql("PRAGMA database_list").fetchall()
    database.close_database()
    assert file.endswith("second.db")
