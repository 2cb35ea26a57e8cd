"""Backups of the server's own database: on schedule or at once, verified, kept, and told of when they fail."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rm.domain import server_backups as rules
from rm.domain.actors import Actor
from rm.domain.server_backups import Made, Plan
from rm.errors import Conflict, Gone, Invalid, RmError
from rm.events import EventBus
from rm.services import alerts, audit
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.words import counted
from rm.store import alerts as stored_alerts
from rm.store import backup_files, kept_settings, server_backups
from rm.store.backup_files import BackupFailed, Verified
from rm.store.database import changes, connection
from rm.store.models import ServerBackup

log = logging.getLogger(__name__)

SETTING = "server_care.backups"
SINCE = "server_care.backups_since"
ALERT, CONDITION = "server_backup_failed", "server"
PROGRAM = Path(__file__).resolve().parents[2]
KEEP_FAILED = 20
KEEP_REMOVED = timedelta(days=400)
DIRECTORY = "backups"

Offload = Callable[..., Any]
_at_work = threading.Lock()


def plan() -> Plan:
    """What is wanted now."""
    return Plan(**kept_settings.get(SETTING, {}))


def directory(wanted: Plan, data_dir: Path) -> Path:
    """Where backups go."""
    return Path(wanted.directory) if wanted.directory else data_dir / DIRECTORY


def save_plan(bus: EventBus, *, wanted: Plan, data_dir: Path, actor: Actor, now: datetime) -> None:
    """Change what is wanted, from now on; raises Invalid."""
    wanted.checked()
    if wanted.directory:
        _check_directory(Path(wanted.directory), data_dir)
    with changes():
        before = plan()
        if before == wanted:
            return
        kept_settings.put(SETTING, asdict(wanted))
        audit.record(
            actor, "settings.changed", now=now, kind="settings", id=SETTING, name="server backup",
            before=asdict(before), after=asdict(wanted),
        )  # fmt: skip


def start(
    bus: EventBus, *, database_file: Path, data_dir: Path, actor: Actor, clock: Callable[[], datetime], offload: Offload
) -> threading.Thread:
    """Begin a backup and return at once; raises Conflict while one is being made."""
    if _at_work.locked():
        raise Conflict("A backup is being made already.", code="backup_running")

    def work() -> None:
        with suppress(RmError):  # it is kept and told of
            run(bus, database_file=database_file, data_dir=data_dir, actor=actor, clock=clock, offload=offload)

    thread = threading.Thread(target=work, name="server-backup", daemon=True)
    thread.start()
    return thread


def run(
    bus: EventBus, *, database_file: Path, data_dir: Path, actor: Actor | None, clock: Callable[[], datetime],
    offload: Offload, to: Path | None = None,
) -> ServerBackup:  # fmt: skip
    """Make one backup and remove those beyond the wanted number; `actor` is None for the schedule.

    No connection is held while the copy is made. Raises Conflict while another is being made, and BackupFailed, of
    which an alert tells.
    """
    if not _at_work.acquire(blocking=False):
        raise Conflict("A backup is being made already.", code="backup_running")
    try:
        now = clock()
        with connection():
            made = _begin(data_dir, actor, now, to)
        try:
            found: Verified = offload(backup_files.make, database_file, Path(made.file))
        except BackupFailed as error:
            with connection():
                _failed(bus, made, error, actor, clock())
            raise
        with connection():
            _made(bus, made, found, actor, clock())
            _thin_out(clock())
            return server_backups.get(made.id)
    finally:
        _at_work.release()


def is_due(now: datetime) -> bool:
    """Whether the schedule wants one now."""
    return now >= rules.next_at(_all_made(), plan(), now=now)


def next_at(now: datetime) -> datetime:
    return rules.next_at(_all_made(), plan(), now=now)


def watch(bus: EventBus, *, now: datetime) -> None:
    """Tell when the newest good backup is too old, whatever kept the next one from being made."""
    first_seen = kept_settings.get(SINCE, None)
    if first_seen is None:
        with changes():
            kept_settings.put(SINCE, instants.to_text(now))
        return
    wanted = plan()
    since = rules.old_since(_all_made(), wanted, first_seen=instants.from_text(first_seen))
    if now < since or stored_alerts.find_open(ALERT, CONDITION) is not None:
        return
    last = server_backups.last_good()
    of = f"is of {last.started_at:%Y-%m-%d %H:%M} UTC" if last is not None else "was never made"
    with changes():
        alerts.raise_alert(
            bus, kind=ALERT, condition=CONDITION, now=now,
            message=f"The newest good backup of the server's database {of}; one is wanted every {wanted.every_hours} h."
            " Settings → Server shows why.",
        )  # fmt: skip


def settle_unfinished(*, now: datetime) -> None:
    """At the server's start nothing is being made, whatever the last run left behind."""
    with changes():
        ServerBackup.update(
            is_ok=False, ended_at=now, message="The server ended while this backup was being made."
        ).where(ServerBackup.is_ok.is_null()).execute()


def to_download(*, backup_id: str, actor: Actor, now: datetime) -> ServerBackup:
    """A backup that is about to be handed out, which is recorded; raises NotFound or Gone."""
    found = server_backups.get(backup_id)
    if not found.is_ok or found.removed_at is not None or not Path(found.file).is_file():
        raise Gone("The file of this backup is not there any more.", help="Take another one, or make a new one.")
    with changes():
        audit.record(
            actor, "server_backup.downloaded", now=now, kind="server_backup", id=found.id, name=Path(found.file).name
        )
    return found


def _begin(data_dir: Path, actor: Actor | None, now: datetime, to: Path | None) -> ServerBackup:
    backup_id = new_ulid()
    name = f"{backup_files.PREFIX}{now:%Y%m%dT%H%M%SZ}-{backup_id[-6:].lower()}{backup_files.SUFFIX}"
    file = to if to is not None else directory(plan(), data_dir) / name
    with changes():
        return ServerBackup.create(
            id=backup_id, file=str(file.absolute()), started_at=now, requested_by=actor.name if actor else ""
        )


def _failed(bus: EventBus, made: ServerBackup, error: BackupFailed, actor: Actor | None, now: datetime) -> None:
    log.error("the backup of the database failed: %s", error.message)
    with changes():
        ServerBackup.update(is_ok=False, ended_at=now, message=error.message).where(
            ServerBackup.id == made.id
        ).execute()
        alerts.raise_alert(bus, kind=ALERT, condition=CONDITION, message=error.message, now=now)
        if actor is not None:
            _record(actor, "server_backup.failed", made, now, why=error.message)


def _made(bus: EventBus, made: ServerBackup, found: Verified, actor: Actor | None, now: datetime) -> None:
    holds = ", ".join(
        counted(found.counts[table], word, plural)
        for table, word, plural in (
            ("hosts", "host", "hosts"), ("repositories", "repository", "repositories"), ("jobs", "job", "jobs"),
        )
    )  # fmt: skip
    with changes():
        ServerBackup.update(
            is_ok=True, ended_at=now, size_bytes=found.size_bytes, sha256=found.sha256, message=f"Holds {holds}."
        ).where(ServerBackup.id == made.id).execute()
        alerts.clear(bus, kind=ALERT, condition=CONDITION, note="A backup was made and verified.", now=now)
        if actor is not None:
            _record(actor, "server_backup.made", made, now, size_bytes=found.size_bytes, sha256=found.sha256)


def _record(actor: Actor, action: str, made: ServerBackup, now: datetime, **payload: object) -> None:
    audit.record(actor, action, now=now, kind="server_backup", id=made.id, name=Path(made.file).name, **payload)


def _thin_out(now: datetime) -> None:
    """Remove the files of backups that are beyond the wanted number, and forget old failures."""
    kept = server_backups.list_kept()
    by_id = {one.id: one for one in kept}
    # a copy that was made elsewhere on the command line belongs to whoever asked for it
    own = [one for one in kept if one.is_ok and Path(one.file).name.startswith(backup_files.PREFIX)]
    gone = []
    for one in rules.to_remove([_known(row) for row in own], plan().keep):
        try:
            Path(by_id[one.id].file).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the old backup %s cannot be removed: %s", by_id[one.id].file, error)
        else:
            gone.append(one.id)
    failed = [one.id for one in kept if one.is_ok is False][KEEP_FAILED:]
    with changes():
        if gone:
            ServerBackup.update(removed_at=now).where(ServerBackup.id.in_(gone)).execute()
        if failed:
            ServerBackup.delete().where(ServerBackup.id.in_(failed)).execute()
        ServerBackup.delete().where(ServerBackup.removed_at < now - KEEP_REMOVED).execute()


def _all_made() -> list[Made]:
    return [_known(one) for one in server_backups.list_kept()]


def _known(row: ServerBackup) -> Made:
    return Made(row.id, row.started_at, row.is_ok)


def _check_directory(wanted: Path, data_dir: Path) -> None:
    place = wanted.resolve()
    if place.is_relative_to(PROGRAM) and not place.is_relative_to(data_dir.resolve()):
        # Part of it is served to everybody, and all of it goes with the next version.
        raise Invalid({"directory": "This is the program's own directory. Choose one that is made for data."})
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(wanted, os.W_OK | os.X_OK):
            raise PermissionError("the server may not write there")
    except OSError as error:
        raise Invalid({"directory": f"This directory cannot be used: {error.strerror or error}."}) from error
