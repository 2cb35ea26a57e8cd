"""How the agent knows that it was not there: asleep, switched off, stopped, or the clock was set."""

import json
import logging
import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from agent import durable
from agent.platform import linux
from rm.shared import instants
from rm.shared.schedule import zone_named, zone_of_this_machine

log = logging.getLogger("agent.schedules")

ASLEEP, OFF, STOPPED, CLOCK, FULL = "asleep", "off", "agent_stopped", "clock", "disk_full"
STALL_SECONDS = 90.0
STEP_SECONDS = 60.0
KEEP_GAPS = 8
SAME_STORY = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment by all clocks; `boottime` goes on while the host sleeps, `monotonic` does not."""

    wall: datetime
    boot_id: str
    boottime: float
    monotonic: float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A stretch of time, by the clock on the wall, in which nothing could be started, and why.

    `started` is when the host came up again; `stepped_from` where the clock stood before it was set forward.
    """

    kind: str
    since: datetime
    until: datetime
    started: datetime | None = None
    stepped_from: datetime | None = None

    def covers(self, instant: datetime) -> bool:
        slack = timedelta(seconds=STEP_SECONDS)
        return self.since - slack <= instant <= self.until + slack

    def words(self, zone: tzinfo) -> str:
        """The gap as the end of a sentence: the host was asleep since 2026-11-25 22:10."""
        since = shown(self.since, zone)
        if self.kind == ASLEEP:
            return f"the host was asleep since {since}"
        if self.kind == OFF:
            if self.started is None:
                return f"the host was restarted; it was last seen on at {since}"
            return f"the host was off: last seen on at {since}, started again at {shown(self.started, zone)}"
        if self.kind == CLOCK:
            return f"the host's clock was set forward from {since} to {shown(self.until, zone)}"
        if self.kind == FULL:
            return f"the agent could write nothing down since {since}"
        return f"the agent did not run since {since}"


class Clocks:
    """The clocks of this machine, and the zone that its people read them in."""

    def __init__(self, zone_file: Path = Path("/etc/localtime")) -> None:
        self._zone_file = zone_file
        self._zone: tuple[Any, tzinfo] | None = None

    def moment(self) -> Moment:
        return Moment(
            wall=datetime.now(timezone.utc),
            boot_id=linux.boot_id(),
            boottime=time.clock_gettime(time.CLOCK_BOOTTIME),
            monotonic=time.clock_gettime(time.CLOCK_MONOTONIC),
        )

    def zone(self) -> tzinfo:
        """The host's zone as it is now; the same object until it changes."""
        named = os.environ.get("TZ", "").lstrip(":")
        try:
            found = self._zone_file.stat()
            mark: Any = (named, found.st_mtime_ns, found.st_ino)
        except OSError:
            mark = (named,)
        if self._zone is None or self._zone[0] != mark:
            self._zone = (mark, self._read_zone(named))
        return self._zone[1]

    def _read_zone(self, named: str) -> tzinfo:
        found = zone_of_this_machine(Path(named)) if named.startswith("/") else zone_named(named)
        # a name that means nothing here, since the host has no zone database, or a rule in place of a name
        is_found = found is not timezone.utc or named in ("UTC", "Etc/UTC", "UTC0", "GMT", "Etc/GMT", "Zulu")
        return found if is_found else zone_of_this_machine(self._zone_file)


def gap_between(before: Moment | None, now: Moment) -> Gap | None:
    """Why nobody looked between two moments; None when the agent was there all the time."""
    if before is None:
        return None
    if before.boot_id != now.boot_id:
        started = now.wall - timedelta(seconds=now.boottime)
        is_plain = before.wall <= started <= now.wall
        return Gap(kind=OFF, since=before.wall, until=now.wall, started=started if is_plain else None)
    here = now.monotonic - before.monotonic
    asleep = now.boottime - before.boottime - here
    step = (now.wall - before.wall).total_seconds() - (here + asleep)
    found = [
        (asleep, STEP_SECONDS, ASLEEP),
        (step, STEP_SECONDS, CLOCK),
        (here, STALL_SECONDS, STOPPED),
    ]
    missing = [(seconds, kind) for seconds, least, kind in found if seconds > least]
    if not missing:
        return None
    kind = max(missing)[1]
    stepped_from = now.wall - timedelta(seconds=step) if step > STEP_SECONDS else None
    return Gap(kind=kind, since=before.wall, until=now.wall, stepped_from=stepped_from)


def join(gaps: tuple[Gap, ...], gap: Gap) -> tuple[Gap, ...]:
    """The gaps with one more; a clock that is put right soon after the start belongs to the time without power."""
    last = gaps[-1] if gaps else None
    if (
        last is not None
        and last.kind == OFF
        and gap.kind == CLOCK
        and timedelta(0) <= gap.since - last.until <= SAME_STORY
    ):
        joined = Gap(kind=OFF, since=last.since, until=gap.until, stepped_from=gap.stepped_from)
        return (*gaps[:-1], joined)[-KEEP_GAPS:]
    return (*gaps, gap)[-KEEP_GAPS:]


class BeatFile:
    """When the agent last looked, and the gaps that it has found; not worth waiting for the disk."""

    def __init__(self, state: Path) -> None:
        self.path = state / "beat.json"

    def load(self) -> tuple[Moment | None, tuple[Gap, ...]]:
        """The last look before this one, None when it is not known."""
        try:
            raw = json.loads(self.path.read_bytes())
            last = Moment(**(raw["last"] | {"wall": instants.from_text(raw["last"]["wall"])}))
            return last, tuple(_gap(found) for found in raw["gaps"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None, ()

    def save(self, last: Moment, gaps: tuple[Gap, ...]) -> None:
        body = {
            "last": vars(last) | {"wall": instants.to_text(last.wall)},
            "gaps": [_plain(gap) for gap in gaps],
        }
        try:
            durable.write_quick(self.path, json.dumps(body).encode())
        except OSError as error:
            log.debug("%s could not be written: %s", self.path, error)


def shown(instant: datetime, zone: tzinfo) -> str:
    """A moment as the host's clock shows it: 2026-11-25 22:10."""
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _plain(gap: Gap) -> dict[str, str]:
    return {"kind": gap.kind} | {name: instants.to_text(value) for name in _TIMES if (value := getattr(gap, name))}


def _gap(raw: dict[str, str]) -> Gap:
    return Gap(kind=raw["kind"], **{name: instants.from_text(raw[name]) for name in _TIMES if name in raw})


_TIMES = ("since", "until", "started", "stepped_from")
