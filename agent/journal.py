"""The journal of jobs: one directory per job whose files alone tell, after any crash, what was done.

order.json    accepted, and not lost any more
intent.json   about to start: from here on the job is never started anew
claim/        made by the wrapper just before restic, or by a recovery that forbids the start
pid           of restic and of its wrapper, with their start times
out, err      what restic says
cancel        a cancel arrived
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

from agent import durable
from rm.shared import ids
from rm.shared.fields import FieldError, build
from rm.shared.protocol import CommandRun, JobFinished

log = logging.getLogger("agent.journal")

KEEP_FINISHED = 200
DISK_FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What was about to be started, and in which life of the machine."""

    started_at: str
    command: str
    boot_id: str
    missing: list[str] = field(default_factory=list)


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

    def intent(self) -> Intent | None:
        raw = self._json("intent.json")
        try:
            return Intent(**raw) if raw else None
        except TypeError:
            return None

    def has_intent(self) -> bool:
        return (self.path / "intent.json").exists()

    def intend(self, intent: Intent) -> None:
        """Make the start durable before it happens; raises OSError when the disk refuses it."""
        (self.path / "ending").touch(mode=0o600)
        self._write("intent.json", dataclasses.asdict(intent))

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


@dataclass
class Journal:
    """All job directories; those that ended are kept for questions, the newest 200."""

    root: Path
    unsaved: dict[str, JobFinished] = field(default_factory=dict)

    def of(self, job_id: str) -> JobDirectory:
        return JobDirectory(self.root / job_id)

    def knows(self, job_id: str) -> bool:
        directory = self.of(job_id)
        return job_id in self.unsaved or (directory.path / "order.json").exists() or directory.result() is not None

    def result(self, job_id: str) -> JobFinished | None:
        return self.unsaved.get(job_id) or self.of(job_id).result()

    def finish(self, result: JobFinished) -> None:
        """Keep the result, in memory if the disk refuses it."""
        try:
            self.of(result.job_id).finish(result)
        except OSError as error:
            log.error("The result of job %s cannot be written: %s", result.job_id, error)
            self.unsaved[result.job_id] = result

    def retry(self) -> None:
        """Write the results that a full disk refused."""
        for job_id, result in list(self.unsaved.items()):
            try:
                self.of(job_id).finish(result)
            except OSError:
                return
            del self.unsaved[job_id]
            self.of(job_id).reported()

    def directories(self) -> list[JobDirectory]:
        """All jobs in the order in which they were accepted."""
        found = [JobDirectory(path) for path in self.root.iterdir() if ids.is_ulid(path.name) and path.is_dir()]
        return sorted(found, key=lambda d: (d.accepted_at(), d.job_id))

    def prune(self) -> None:
        """Forget the oldest results beyond the newest 200, never one that is not in the outbox yet."""
        ended = [d for d in self.directories() if d.is_reported() and d.job_id not in self.unsaved]
        ended.sort(key=lambda d: (d.path / "result.json").stat().st_mtime if (d.path / "result.json").exists() else 0.0)
        for directory in ended[:-KEEP_FINISHED]:
            directory.remove()
