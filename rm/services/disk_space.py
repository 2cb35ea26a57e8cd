"""The disk under the database: watched, and told of before it is full."""

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rm.domain import disk_space as rules
from rm.domain.actors import Actor
from rm.domain.disk_space import Limits
from rm.errors import RmError, Unavailable
from rm.events import EventBus, FleetUpdateChanged
from rm.services import alerts, audit
from rm.store import fleet_updates, kept_settings
from rm.store.database import DatabaseError, changes, connection

log = logging.getLogger(__name__)

SETTING = "server_care.disk"
ALERT, CONDITION = "server_disk_low", "server"


@dataclass(frozen=True)
class Disk:
    """What was seen last; before the first look all is well."""

    level: str = rules.OK
    free_bytes: int | None = None
    total_bytes: int | None = None


# of the process, like the disk itself: the writer asks for each batch, and must not read the database for it
_seen = Disk()
_untold = False


def seen() -> Disk:
    """What the last look found."""
    return _seen


def drops_lines() -> bool:
    """Whether log lines are not to be kept just now."""
    return _seen.level != rules.OK


def refuse_new_orders() -> None:
    """Raise Unavailable when so little is free that the rest is kept for results."""
    if _seen.level == rules.CRITICAL:
        raise Unavailable(
            "The server's disk is almost full: new jobs are refused, so that the results of running ones can be kept.",
            code="disk_low",
            help="Free space in the data directory; Settings → Server shows what takes it and the limits.",
        )


def why_nothing_starts() -> str:
    """Why no host is given an order by the server itself just now, in a sentence; empty while orders are given."""
    if _seen.level != rules.CRITICAL:
        return ""
    return "The server's disk is almost full, so it gives no orders; it goes on by itself once there is room."


def limits() -> Limits:
    return Limits(**kept_settings.get(SETTING, {}))


def save_limits(bus: EventBus, *, wanted: Limits, actor: Actor, now: datetime) -> None:
    """Change the limits, from the next look on; raises Invalid."""
    wanted.checked()
    with changes():
        before = limits()
        if before == wanted:
            return
        kept_settings.put(SETTING, asdict(wanted))
        audit.record(
            actor, "settings.changed", now=now, kind="settings", id=SETTING, name="disk limits",
            before=asdict(before), after=asdict(wanted),
        )  # fmt: skip


def look(bus: EventBus, *, data_dir: Path, now: datetime, statvfs: Callable[[Path], Any] = os.statvfs) -> Disk:
    """Look at the disk; a change of its level takes effect even where nobody can be told any more."""
    global _seen, _untold
    found = statvfs(data_dir)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    before = _seen.level
    level = rules.level(free, limits(), before=before)
    _seen = Disk(level, free, total)
    if level != before or _untold:
        _untold = not _tell(bus, level, free, now)
    if rules.CRITICAL in (level, before) and level != before:
        _tell_the_open_fleet_update(bus)
    return _seen


def forget() -> None:
    """As before the first look."""
    global _seen, _untold
    _seen, _untold = Disk(), False


def _tell_the_open_fleet_update(bus: EventBus) -> None:
    with connection():
        found = fleet_updates.find_open()
    if found is not None:
        bus.publish(FleetUpdateChanged(found.id))


def _tell(bus: EventBus, level: str, free: int, now: datetime) -> bool:
    try:
        with changes():
            if level == rules.OK:
                alerts.clear(bus, kind=ALERT, condition=CONDITION, note="Enough is free again.", now=now)
            else:
                alerts.raise_alert(
                    bus, kind=ALERT, condition=CONDITION, now=now,
                    message=f"The server's disk has {free // rules.MIB:,} MiB free. {rules.effect(level)}",
                )  # fmt: skip
    except (RmError, DatabaseError) as error:
        log.error("the disk has %s MiB free, and that cannot be noted: %s", free // rules.MIB, error)
        return False
    return True
