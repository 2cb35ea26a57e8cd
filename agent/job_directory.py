"""The directory of one job: its files alone tell, after any crash, what was done.

order.json    accepted, and not lost any more
begun.json    begun, and since when: its time box runs
hooked        the hooks' turn has come: the one after the backup is due, whatever happens
pre, post     the hooks, each a directory with intent.json, claim, pid, out and exit-N of its own
launch.json   when restic was started, and from where on it writes; apart, since agents of before must read the intent
intent.json   about to start: from here on the job is never started anew
claim/        made by the wrapper just before restic, or by a recovery that forbids the start
pid           of restic and of its wrapper, with their start times
out, err      what restic says
cancel        a cancel arrived
time_box      the time box was over
exit-N        restic's exit code, renamed from `ending`, which needs no disk space
result.json   how the job ended; all else of the job is removed after it
reported      the result is in the outbox
"""

import dataclasses
import json
import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import clock, durable
from agent.platform import linux
from rm.shared import instants
from rm.shared.fields import FieldError, build
from rm.shared.protocol import CommandRun, JobFinished

log = logging.getLogger("agent.journal")

_OF_LAUNCH = ("launched_at", "out_from", "err_from")
DISK_FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What was about to be started, and in which life of the machine."""

    started_at: str
    command: str
    boot_id: str
    missing: list[str] = field(default_factory=list)
    launched_at: str = ""
    out_from: int = 0
    err_from: int = 0


@dataclass(frozen=True, kw_only=True)
class Begun:
    """When a job was begun, by the clock and by the machine's own count of seconds since its start."""

    at: str
    boot_id: str
    boot_seconds: float

    @classmethod
    def now(cls) -> "Begun":
        return cls(at=clock.now(), boot_id=linux.boot_id(), boot_seconds=linux.boot_seconds())

    def elapsed(self) -> float:
        """Seconds since then; a clock that is set meanwhile does not matter unless the machine was restarted."""
        if self.boot_id == linux.boot_id():
            return max(0.0, linux.boot_seconds() - self.boot_seconds)
        return max(0.0, (instants.from_text(clock.now()) - instants.from_text(self.at)).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a started job; a pid counts only with its start time."""

    restic: int
    restic_started: str
    wrapper: int
    wrapper_started: str


@dataclass(frozen=True)
class JobDirectory:
    """The files of one job."""

    path: Path

    @property
    def job_id(self) -> str:
        return self.path.name

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def err(self) -> Path:
        return self.path / "err"

    def order(self) -> CommandRun | None:
        """The accepted order, None if it was never accepted."""
        raw = self._json("order.json")
        if raw is None:
            return None
        try:
            order: CommandRun = build(CommandRun, raw["order"])
        except (KeyError, FieldError) as error:
            log.error("The order of job %s cannot be understood: %s", self.job_id, error)
            return None
        return order

    def accept(self, order: CommandRun, *, at: str) -> None:
        """Make the order durable; raises OSError when the disk refuses it."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        durable.sync_directory(self.path.parent)
        self._write("order.json", {"accepted_at": at, "order": dataclasses.asdict(order)})

    def accepted_at(self) -> str:
        return str((self._json("order.json") or {}).get("accepted_at", ""))

    def begun(self) -> Begun | None:
        raw = self._json("begun.json")
        try:
            return Begun(**raw) if raw else None
        except TypeError:
            return None

    def begin(self) -> Begun:
        """The moment at which the job was begun, made durable now if it is not yet; raises OSError."""
        found = self.begun()
        if found is None:
            found = Begun.now()
            self._write("begun.json", dataclasses.asdict(found))
        return found

    def hook(self, phase: str) -> "JobDirectory":
        """The files of the hook before ("pre") or after ("post") the backup; the directory may not exist."""
        return JobDirectory(self.path / phase)

    def are_hooks_due(self) -> bool:
        return (self.path / "hooked").exists()

    def note_hooks_due(self) -> None:
        """From now on the hook after the backup runs, whatever happens; raises OSError when the disk refuses it."""
        durable.write(self.path / "hooked", b"")

    def is_under_way(self) -> bool:
        """Whether a process of this job may run already."""
        return self.has_intent() or self.are_hooks_due()

    def intent(self) -> Intent | None:
        raw = self._json("intent.json")
        if raw is None:
            return None
        known = {spec.name for spec in dataclasses.fields(Intent)}
        found = {name: value for name, value in ((self._json("launch.json") or {}) | raw).items() if name in known}
        try:
            return Intent(**found)
        except TypeError:
            return None

    def has_intent(self) -> bool:
        return (self.path / "intent.json").exists()

    def intend(self, intent: Intent) -> None:
        """Make the start durable before it happens; raises OSError when the disk refuses it."""
        (self.path / "ending").touch(mode=0o600)
        body = dataclasses.asdict(intent)
        self._write("launch.json", {name: body.pop(name) for name in _OF_LAUNCH})
        self._write("intent.json", body)

    def withdraw(self) -> None:
        """Restic ended without having done anything: the job is as if it had not been started. Raises OSError."""
        (self.path / "intent.json").unlink()
        durable.sync_directory(self.path)

    def clear(self) -> None:
        """Make room for a start when there is no intent: what an earlier one that did nothing has left is removed."""
        for name in self._names():
            if name in ("pid", "ending") or name.startswith("exit-"):
                (self.path / name).unlink()
        if (self.path / "claim").exists():
            (self.path / "claim").rmdir()

    def claim(self) -> bool:
        """Forbid a start that has not happened yet; False when restic was started before."""
        try:
            (self.path / "claim").mkdir()
        except OSError:
            return False
        return True

    def processes(self) -> Processes | None:
        """The pids that the wrapper noted, None before it has."""
        try:
            words = (self.path / "pid").read_text("ascii").split()
            return Processes(
                restic=int(words[0]), restic_started=words[1], wrapper=int(words[2]), wrapper_started=words[3]
            )
        except (OSError, ValueError, IndexError):
            return None

    def exit_code(self) -> int | str | None:
        """Restic's exit code, DISK_FULL when the wrapper could not even note its pid, None while there is none."""
        for name in self._names():
            if name.startswith("exit-"):
                word = name.removeprefix("exit-")
                return int(word) if word.isdigit() else DISK_FULL
        return None

    def ask_cancel(self) -> None:
        (self.path / "cancel").touch(mode=0o600)

    def cancel_asked(self) -> bool:
        return (self.path / "cancel").exists()

    def end_time_box(self) -> None:
        """Note that the job is ended because its time is over."""
        (self.path / "time_box").touch(mode=0o600)

    def is_time_box_over(self) -> bool:
        return (self.path / "time_box").exists()

    def is_to_end(self) -> bool:
        return self.cancel_asked() or self.is_time_box_over()

    def result(self) -> JobFinished | None:
        raw = self._json("result.json")
        if raw is None:
            return None
        try:
            finished: JobFinished = build(JobFinished, raw)
        except FieldError as error:
            log.error("The result of job %s cannot be understood: %s", self.job_id, error)
            return None
        return finished

    def finish(self, result: JobFinished) -> None:
        """Make the one result durable; raises OSError when the disk refuses it."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._write("result.json", dataclasses.asdict(result))

    def is_reported(self) -> bool:
        return (self.path / "reported").exists()

    def reported(self) -> None:
        """The result has reached the outbox; what the job needed while it ran is removed."""
        try:
            (self.path / "reported").touch(mode=0o600)
            for name in self._names():
                if name not in ("result.json", "reported"):
                    entry = self.path / name
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except OSError as error:
            log.warning("Job %s could not be tidied up: %s", self.job_id, error)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except OSError:
            return []

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            raw = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.error("%s of job %s cannot be read: %s", name, self.job_id, error)
            return None
        return raw if isinstance(raw, dict) else None

    def _write(self, name: str, body: dict[str, Any]) -> None:
        durable.write(self.path / name, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
