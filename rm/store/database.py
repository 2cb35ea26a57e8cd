"""The one SQLite database: opening it, connections, and telling only after the commit."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peewee import SQL, DatabaseError, IntegrityError, OperationalError
from playhouse.pool import PooledSqliteDatabase

from rm.errors import Unavailable
from rm.events import Event, EventBus

__all__ = [
    "DatabaseError", "IntegrityError", "among", "changes", "close_database", "connection", "db", "open_database",
    "publish_after_commit",
]  # fmt: skip


# What `close_surplus` leaves: one or two are in use at most times.
MAX_IDLE = 4


class Pool(PooledSqliteDatabase):
    """Keeps connections to one file; one that comes back after another file was opened is closed."""

    def init(self, database: str | None, *arguments: Any, **options: Any) -> None:
        self._to_this_file: set[int] = set()
        super().init(database, *arguments, **options)

    def _connect(self) -> Any:
        connection = super()._connect()
        self._to_this_file.add(id(connection))
        return connection

    def _can_reuse(self, connection: Any) -> bool:
        return id(connection) in self._to_this_file

    def close_surplus(self) -> None:
        with self._pool_lock:
            # sorted, which a heap may be; the first are those that are taken first
            idle = sorted(self._connections)
            self._connections = idle[:MAX_IDLE]
            for _, _, connection in idle[MAX_IDLE:]:
                self._close_raw(connection)

    def _close_raw(self, connection: Any) -> None:
        self._to_this_file.discard(id(connection))
        super()._close_raw(connection)


# lock_type only works in the constructor. IMMEDIATE: a block that reads and then writes
# fails at once under DEFERRED, without the busy wait.
# A pool, because opening a connection costs more than most of what is asked of it, and closing the last one
# makes SQLite write its whole log back. No limit: a block that waits for a connection would hold others up.
db = Pool(None, max_connections=0, lock_type="IMMEDIATE", autoconnect=False)

# Long enough for a commit of another connection, short enough that a mistake cannot freeze the process:
# under gevent the busy wait blocks every greenlet.
BUSY_SECONDS = 0.5


def open_database(file: Path) -> None:
    """Point the models at a database file; connections are opened by `connection()`."""
    close_database()
    db.init(
        str(file),
        pragmas={
            "busy_timeout": int(BUSY_SECONDS * 1000), "journal_mode": "wal", "foreign_keys": 1, "synchronous": "normal",
        },
        # Pooled connections go from thread to thread, one at a time.
        check_same_thread=False,
    )  # fmt: skip


def close_database() -> None:
    """Close this thread's connection and all that wait in the pool; SQLite then writes its log back."""
    if not db.is_closed():
        db.close()
    db.close_idle()


def close_surplus() -> None:
    """Close what a burst needed and nobody uses now, for each connection keeps up to 2 MB of pages as long as it lives.

    Called now and then, not for each that comes back: a server with many hosts would open them again and again.
    """
    db.close_surplus()


@contextmanager
def connection() -> Iterator[None]:
    """A connection for this block, shared with an outer block of the same thread; never held across a wait."""
    if not db.is_closed():
        yield
        return
    db.connect()
    try:
        yield
    finally:
        db.close()


@contextmanager
def changes() -> Iterator[None]:
    """One IMMEDIATE transaction; raises Unavailable when the disk is full, or another program holds the file."""
    try:
        with db.atomic():
            yield
    except OperationalError as error:
        # SQLite itself rolls back when the disk is full; peewee's rollback then fails and hides the reason.
        if is_disk_trouble(error):
            raise Unavailable(
                "The server's disk is full or cannot be written; nothing was changed.",
                code="disk_full",
                help="Free space in the data directory and try again.",
            ) from error
        if _is_locked(error):
            raise Unavailable(
                "The server's database is busy; nothing was changed.",
                code="busy",
                help="Try again in a moment. If it stays, another program holds the database file open.",
            ) from error
        raise


def among(ids: Iterable[str]) -> SQL:
    """What a column's `in_` takes for these ids: one parameter, for peewee is slow at writing one for each."""
    return SQL("(SELECT value FROM json_each(?))", (json.dumps(list(ids)),))


def is_disk_trouble(error: BaseException) -> bool:
    """Whether SQLite failed because the file system under it did."""
    seen: BaseException | None = error
    while seen is not None:
        if _names_the_disk(str(seen).lower()):
            return True
        seen = seen.__context__
    return False


def _is_locked(error: BaseException) -> bool:
    return "database is locked" in str(error).lower()


def _names_the_disk(text: str) -> bool:
    return "disk is full" in text or "disk i/o" in text or "readonly" in text or "unable to open" in text


def publish_after_commit(bus: EventBus, *events: Event) -> None:
    """Publish once the outermost transaction has committed; a rollback publishes nothing."""
    for event in events:
        db.after_commit(partial(bus.publish, event))
