"""The last schedule set that this agent acknowledged: on disk, with the hooks' shell texts in a file of their own."""

import dataclasses
import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import durable
from agent.errors import ConfigurationError
from rm.shared import instants
from rm.shared.fields import FieldError, build
from rm.shared.protocol import ScheduleSet, SourceGroupSpec
from rm.shared.schedule import ScheduleError, Timing

log = logging.getLogger("agent.schedules")

FORMAT = 1


class SetRefused(ConfigurationError):
    """A schedule set that this agent cannot run; the one before it stays."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A schedule set without shell texts, and since when it holds."""

    wanted: ScheduleSet
    applied_at: datetime


@dataclass(frozen=True)
class _Seen:
    """What the two files held when they were read last."""

    marks: tuple[Any, ...] = ()
    stored: Stored | None = None
    shells: dict[str, tuple[str, str]] = field(default_factory=dict)
    problem: str = ""


class StoredSchedules:
    """The one way to the schedule set; every reader sees what is on the disk now."""

    def __init__(self, state: Path) -> None:
        self.file = state / "schedules.json"
        self.hooks_file = state / "hooks.json"
        self._lock = threading.Lock()
        self._seen = _Seen()

    def load(self) -> Stored | None:
        """The set that holds, None when there is none or it is damaged; changes nothing on the disk."""
        return self._look().stored

    @property
    def version(self) -> int:
        """Of the set that holds; 0 has the server send it again."""
        stored = self.load()
        return stored.wanted.version if stored else 0

    @property
    def problem(self) -> str:
        """What is wrong with the files, as a sentence for people; empty when they are well."""
        return self._look().problem

    def group(self, name: str) -> SourceGroupSpec | None:
        """The source group of that name, without its shell texts."""
        stored = self.load()
        return next((group for group in stored.wanted.groups if group.name == name), None) if stored else None

    def shell_of(self, group: str) -> tuple[str, str] | None:
        """The shell texts of a group's hooks before and after a backup, empty where it has none; None: not known."""
        seen = self._look()
        if seen.stored is None or all(known.name != group for known in seen.stored.wanted.groups):
            return None
        return seen.shells.get(group, ("", ""))

    def save(self, wanted: ScheduleSet, *, at: datetime) -> None:
        """Make a set durable; raises SetRefused for one that cannot run, OSError when the disk refuses it."""
        _check(wanted)
        with self._lock:
            if self._read().problem:
                log.warning("%s was damaged and is replaced by what the server sent.", self.file)
            shells = {g.name: (g.pre_shell, g.post_shell) for g in wanted.groups if g.pre_shell or g.post_shell}
            bare = [dataclasses.replace(group, pre_shell="", post_shell="") for group in wanted.groups]
            hooks = {"format": FORMAT, "version": wanted.version, "shells": shells}
            body = {
                "format": FORMAT,
                "applied_at": instants.to_text(at),
                "with_shell": sorted(shells),
                "set": dataclasses.asdict(dataclasses.replace(wanted, groups=bare)),
            }
            # The set is what counts, so it is the last to be replaced.
            durable.write(self.hooks_file, _json(hooks))
            durable.write(self.file, _json(body))
            self._seen = _Seen()

    def _look(self) -> _Seen:
        with self._lock:
            return self._read()

    def _read(self) -> _Seen:
        marks = (_mark(self.file), _mark(self.hooks_file))
        if not self._seen.marks or marks != self._seen.marks:
            self._seen = self._parse(marks)
        return self._seen

    def _parse(self, marks: tuple[Any, ...]) -> _Seen:
        if marks[0] is None:
            return _Seen(marks=marks)
        try:
            raw = json.loads(self.file.read_bytes())
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r} is not known to this version")
            wanted: ScheduleSet = build(ScheduleSet, raw["set"])
            _check(wanted)
            stored = Stored(wanted=wanted, applied_at=instants.from_text(raw["applied_at"]))
            with_shell = set(raw["with_shell"])
            shells = self._parse_shells() if with_shell else {}
            if not with_shell <= set(shells):
                raise ValueError(f"{self.hooks_file.name} lacks a shell text")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, FieldError) as error:
            log.error("%s cannot be understood: %s", self.file, error)
            return _Seen(marks=marks, problem=_damaged(self.file))
        except SetRefused as error:
            return _Seen(marks=marks, problem=str(error))
        return _Seen(marks=marks, stored=stored, shells=shells)

    def _parse_shells(self) -> dict[str, tuple[str, str]]:
        raw = json.loads(self.hooks_file.read_bytes())
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']!r} is not known to this version")
        return {str(name): (str(before), str(after)) for name, (before, after) in raw["shells"].items()}


def _check(wanted: ScheduleSet) -> None:
    names = [group.name for group in wanted.groups]
    for name in names:
        if not name or names.count(name) > 1:
            raise SetRefused(f"The source group {name!r} has no name of its own. Give each group another name.")
    seen = [schedule.id for schedule in wanted.schedules]
    for schedule in wanted.schedules:
        if seen.count(schedule.id) > 1:
            raise SetRefused(f"Two schedules have the id {schedule.id!r}.")
        try:
            Timing(cron=schedule.cron, every_minutes=schedule.every_minutes).check()
        except ScheduleError as error:
            words = schedule.cron or f"every {schedule.every_minutes} minutes"
            raise SetRefused(f"The schedule {words!r} cannot run here. {error}") from error


def _damaged(file: Path) -> str:
    return (
        f"{file} or the hooks beside it are damaged and were left as they are; this host's schedules do not run until"
        " the server has sent them again, which it does when the agent connects."
    )


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
