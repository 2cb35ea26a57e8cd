"""One hook of one job: started once, followed into the log, ended when its time is over or the job is cancelled."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec

from agent import clock, restic, restic_ends, restic_output, runner
from agent.hooks import Call
from agent.job import Job, Left
from agent.job_directory import Intent, JobDirectory
from agent.platform import linux
from rm.shared.protocol import JobProgress

POLL_SECONDS = 0.2
CLAIM_SECONDS = 10.0
GRACE_SECONDS = 10.0
# The keeper itself ends the hook in time; the agent does only when the keeper is hindered.
LATE_SECONDS = 30.0
TELL_SECONDS = 5.0


def _source() -> str:
    """The keeper's program text; read at the start, because the agent's file may be another one later."""
    spec = find_spec("agent.hook_keeper")
    text = spec.loader.get_source("agent.hook_keeper") if spec and spec.loader else None  # type: ignore[attr-defined]
    if not text:
        raise ImportError("agent.hook_keeper has no source")
    return str(text)


KEEPER = _source()


@dataclass(frozen=True)
class End:
    """How a hook ended; `sentence` is empty when it ended well."""

    sentence: str = ""
    was_cancelled: bool = False
    was_lost: bool = False


class HookRun:
    """Runs the hook of a phase, or takes up one that an agent before this one has started."""

    def __init__(self, job: Job, wake: threading.Event, *, phase: str, call: Call, seconds: int) -> None:
        self._job = job
        self._wake = wake
        self._phase = phase
        self._call = call
        self._seconds = seconds
        self._directory = job.directory.hook(phase)
        self._told_at = 0.0

    def run(self, *, status: str = "", again: bool = False) -> End:
        """The hook's end; `again` runs one anew whose end was lost. Raises Left when the agent stops first."""
        if self._directory.has_intent():
            end = self._take_up()
            if end is not None and not (again and end.was_lost):
                return end
            self._job.say(f"{self._call.title} runs again: how it ended was lost")
            shutil.rmtree(self._directory.path, ignore_errors=True)
        try:
            intent = self._prepare()
            child = self._start(status)
        except OSError as error:
            return End(f"{self._call.title} could not be started ({error.strerror}).")
        self._job.say(f"{self._call.title} begins; it has {self._seconds} s")
        return self._follow(intent, child)

    # ---- the start ----------------------------------------------------------------------------------

    def _prepare(self) -> Intent:
        """Make the start durable before it happens."""
        path = self._directory.path
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self._place(0)
        if self._call.shell:
            handle = os.open(path / "script", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(self._call.shell.replace("\r\n", "\n").encode("utf-8", "surrogateescape") + b"\n")
        intent = Intent(started_at=clock.now(), command=self._call.title, boot_id=linux.boot_id())
        self._directory.intend(intent)
        return intent

    def _start(self, status: str) -> "subprocess.Popen[bytes]":
        directory = str(self._directory.path)
        program = ["/bin/sh", f"{directory}/script"] if self._call.shell else [str(self._call.path)]
        grace = min(GRACE_SECONDS, self._job.around.grace_seconds)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", KEEPER, directory, str(self._seconds), str(grace), *program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=self._environment(status),
            start_new_session=True,
        )

    def _environment(self, status: str) -> dict[str, str]:
        order = self._job.order
        found = {
            "PATH": restic.PATH,
            "HOME": linux.home_directory(),
            "LANG": "C.UTF-8",
            "RM_JOB_ID": order.job_id,
            "RM_JOB_KIND": order.kind,
            "RM_SOURCE_GROUP": order.source_group,
        }
        return found | ({"RM_JOB_STATUS": status} if status else {})

    def _take_up(self) -> End | None:
        """How a hook ended that was begun before; None when it was never started and can be now."""
        directory = self._directory
        intent = directory.intent()
        if directory.exit_code() is None and directory.processes() is None:
            if directory.claim():
                return None
            if intent is None or intent.boot_id != linux.boot_id():
                return self._lost()
            if not runner.wait_for_pid(directory, seconds=CLAIM_SECONDS):
                return self._lost()
        return self._follow(intent, None)

    # ---- while it runs ------------------------------------------------------------------------------

    def _follow(self, intent: Intent | None, child: "subprocess.Popen[bytes] | None") -> End:
        running = runner.Running(self._directory, child=child, boot_id=intent.boot_id if intent else "")
        tail = runner.LineTail(self._directory.out, self._offset())
        began = time.monotonic()
        was_told = False
        while True:
            self._wake.clear()
            keeps = running.is_kept()
            code = running.exit_code()
            has_ended = code is not None or not keeps
            self._take_in(tail, ended=has_ended)
            if has_ended:
                return self._end(running, code, was_told)
            if self._job.around.stop.is_set():
                self._job.book.flush()
                raise Left
            if self._phase == "pre" and self._job.must_end() and not was_told:
                was_told = running.signal_keeper(signal.SIGTERM)
            if time.monotonic() - began > self._seconds + GRACE_SECONDS + LATE_SECONDS:
                running.kill_keeper()
            self._tell()
            self._wake.wait(POLL_SECONDS)

    def _take_in(self, tail: runner.LineTail, *, ended: bool) -> None:
        book = self._job.book
        while lines := tail.read(to_the_end=ended):
            for line in lines:
                book.write("out", restic_output.readable(line))
            self._place(tail.offset)
            if book.is_due() or ended:
                book.flush()
        if book.is_due():
            book.flush()

    def _tell(self) -> None:
        if time.monotonic() - self._told_at >= TELL_SECONDS or not self._told_at:
            self._told_at = time.monotonic()
            self._job.around.show_progress(
                JobProgress(job_id=self._job.order.job_id, at=clock.now(), phase=f"{self._phase}_hook")
            )

    # ---- the end ------------------------------------------------------------------------------------

    def _end(self, running: runner.Running, code: int | str | None, was_told: bool) -> End:
        (self._directory.path / "script").unlink(missing_ok=True)
        self._tell_cut()
        title = self._call.title
        timed_out = (self._directory.path / "timed_out").exists()
        if code is None:
            running.kill_session()
            if self._phase == "pre" and self._job.must_end():
                return End(f"{title} was ended.", was_cancelled=True)
            return self._lost()
        if timed_out:
            return End(f"{title} did not end within {self._seconds} s and was ended with all that it had started.")
        if was_told or (self._phase == "pre" and self._job.must_end() and code != 0):
            return End(f"{title} was ended.", was_cancelled=True)
        if code == 0:
            self._job.say(f"{title} ended well")
            return End()
        if not isinstance(code, int):
            return End(f"{title} was not run: the disk of the agent's state is full. Free some space.")
        if code == 126:
            return End(f"{title} could not be started; the log says why.")
        by = f"was ended by {restic_ends.signal_name(code - 128)}" if code > 128 else f"failed with exit code {code}"
        return End(f"{title} {by}; the log holds what it said.")

    def _lost(self) -> End:
        text = f"How {self._call.title} ended is not known: what watched it was killed, or the host was restarted."
        return End(text, was_lost=True)

    def _tell_cut(self) -> None:
        try:
            total = int((self._directory.path / "cut").read_text("ascii"))
        except (OSError, ValueError):
            return
        self._job.book.write("cut", f"the rest was cut: the hook printed {restic_output.human_bytes(total)} in all")
        (self._directory.path / "cut").unlink(missing_ok=True)

    def _offset(self) -> int:
        place = self._job.book.place
        return place.pre if self._phase == "pre" else place.post

    def _place(self, offset: int) -> None:
        if self._phase == "pre":
            self._job.book.place.pre = offset
        else:
            self._job.book.place.post = offset


def end_by_force(hook: JobDirectory) -> None:
    """The hook does not go on, and does not begin any more."""
    if hook.path.exists() and hook.exit_code() is None and not hook.claim():
        running = runner.Running(hook, child=None, boot_id=linux.boot_id())
        running.kill_keeper()
        running.kill_session()
