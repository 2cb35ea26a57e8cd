"""Restoring the server's own database, and what is to be done at the first start after that."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rm.domain.actors import SERVER
from rm.errors import RmError
from rm.events import EventBus
from rm.services import jobs
from rm.store import hosts, kept_settings, repositories, restoring
from rm.store.data_dir import DataDirLock
from rm.store.database import changes
from rm.store.restoring import MARK, Prepared

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What was put in place, and where the database of before is; None: there was none."""

    prepared: Prepared
    aside: Path | None


def restore(*, backup: Path, data_dir: Path, database_file: Path, key_file: Path, now: datetime) -> Restored:
    """Put a backup in place of the database; raises NotReady, and then nothing was changed.

    Refused while a server runs on that data directory.
    """
    lock = DataDirLock(data_dir)
    try:
        prepared = restoring.prepare(backup, database_file, key_file, now=now)
        return Restored(prepared, restoring.swap(prepared, database_file, now=now))
    finally:
        lock.release()


def last() -> dict[str, Any] | None:
    """When this database was restored last, and of when it is; None: never."""
    found: dict[str, Any] | None = kept_settings.get(MARK, None)
    return found


def after_restore(bus: EventBus, *, now: datetime) -> None:
    """At the first start after a restore: have the snapshots listed that were made since; else nothing."""
    mark = last()
    if mark is None or mark["is_settled"]:
        return
    log.warning("this database was restored on %s from a copy of %s", mark["at"], mark["taken_at"])
    with changes():
        for repository in repositories.list_all():
            _list_snapshots(bus, repository.id, now)
        kept_settings.put(MARK, mark | {"is_settled": True})


def _list_snapshots(bus: EventBus, repository_id: str, now: datetime) -> None:
    usable = [host for host in hosts.list_for_repository(repository_id) if host.revoked_at is None]
    if not usable:
        return
    newest = max(usable, key=lambda host: (host.last_seen_at is not None, host.last_seen_at or host.enrolled_at))
    try:
        jobs.order(bus, host_id=newest.id, kind="snapshots", actor=SERVER, now=now)
    except RmError as error:
        log.warning("the snapshots of a repository cannot be listed anew: %s", error)
