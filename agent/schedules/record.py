"""The record of scheduled runs: what has been handled, which run is pending, what is still to be told."""

import dataclasses
import json
import logging
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import durable
from rm.shared import instants
from rm.shared.fields import FieldError, build
from rm.shared.protocol import RunsSkipped

log = logging.getLogger("agent.schedules")

FORMAT = 1
PLANNED, FIRED, RETRYING = "planned", "fired", "retrying"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One schedule of one group: every due time up to `handled` has been run or explained.

    `before` is what had been handled when the clock was set back; `era` counts how often that happened.
    """

    timing: str
    handled: datetime
    era: int = 0
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """The pending run of a group: planned for a moment, fired, or waiting for its next try."""

    schedule_id: str
    group: str
    due_at: datetime
    job_id: str
    stage: str
    start_at: datetime
    since: datetime
    attempt: int = 1
    era: int = 0
    why_late: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """All of it; `untold` reports belong to `batch` until the outbox has them."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    untold: tuple[RunsSkipped, ...] = ()
    batch: str = ""


class RecordFile:
    """The file of the record; one that is damaged is set aside, and told."""

    def __init__(self, state: Path) -> None:
        self.path = state / "schedule-runs.json"
        self.problem = ""

    def load(self, *, is_expected: bool = False) -> Record | None:
        """The record, None when there is none or it was damaged; that is a problem too for one that is expected."""
        try:
            return _parse(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            if is_expected:
                log.error("%s is gone; it is begun anew", self.path)
                self.problem = (
                    "The agent's record of scheduled runs was gone and is begun anew; runs that were due while the"
                    " agent was not there are not made up for."
                )
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, FieldError) as error:
            aside = self.path.with_name(f"{self.path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}")
            log.error("%s cannot be understood (%s) and is moved to %s", self.path, error, aside)
            self.problem = (
                "The agent's record of scheduled runs was damaged and begun anew; runs that were due while the agent"
                f" was not there are not made up for. The old one is {aside.name}."
            )
            try:
                os.replace(self.path, aside)
            except OSError as refused:
                log.error("That did not work: %s", refused)
            return None

    def save(self, record: Record) -> None:
        """Make the record durable; raises OSError when the disk refuses it."""
        durable.write(self.path, json.dumps(_plain(record), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _plain(record: Record) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "entries": [
            [schedule, group, entry.timing, instants.to_text(entry.handled), entry.era, _text(entry.before)]
            for (schedule, group), entry in record.entries.items()
        ],
        "runs": [
            dataclasses.asdict(run) | {name: instants.to_text(getattr(run, name)) for name in _MOMENTS}
            for run in record.runs.values()
        ],
        "untold": [dataclasses.asdict(skipped) for skipped in record.untold],
        "batch": record.batch,
    }


_MOMENTS = ("due_at", "start_at", "since")


def _text(instant: datetime | None) -> str:
    return "" if instant is None else instants.to_text(instant)


def _parse(raw: dict[str, Any]) -> Record:
    if raw["format"] != FORMAT:
        raise ValueError(f"format {raw['format']!r} is not known to this version")
    entries = {
        (str(schedule), str(group)): Entry(
            timing=str(timing),
            handled=instants.from_text(handled),
            era=int(era),
            before=instants.from_text(before) if before else None,
        )
        for schedule, group, timing, handled, era, before in raw["entries"]
    }
    runs = [Run(**(run | {name: instants.from_text(run[name]) for name in _MOMENTS})) for run in raw["runs"]]
    untold = tuple(build(RunsSkipped, skipped) for skipped in raw["untold"])
    return Record(entries=entries, runs={run.group: run for run in runs}, untold=untold, batch=str(raw["batch"]))
