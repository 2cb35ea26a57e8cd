"""Starts restic so that it outlives the agent, follows what it writes, signals it, and runs short questions."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from agent.job_directory import Intent, JobDirectory
from agent.platform import linux

MAX_LINE_BYTES = 256 * 1024
CHUNK_BYTES = 1024 * 1024
STOP_POLL_SECONDS = 0.3

# The wrapper outlives the agent and notes restic's pid and exit code. `ending` was made before restic started,
# so that noting the code is a rename, which a full disk does not refuse. `claim` decides a race with a recovery
# after kill -9: whoever makes it first wins. The traps keep the wrapper alive while restic cleans up; `trap :`
# and not `trap ''`, because an ignored signal would be ignored by restic too.
WRAPPER = """
umask 077
d=$1; shift
mkdir "$d/claim" 2>/dev/null || exit 0
trap : HUP INT TERM
started() { read -r line < "/proc/$1/stat"; line=${line##*) }; set -- $line; echo "${20}"; }
export RM_JOB_WRAPPER="$$ $(started $$)"
/bin/sh -c '
d=$1; shift
started() { read -r line < "/proc/$1/stat"; line=${line##*) }; set -- $line; echo "${20}"; }
wrapper=$RM_JOB_WRAPPER
unset RM_JOB_WRAPPER
if ! { echo "$$ $(started $$) $wrapper" > "$d/pid.new" && mv "$d/pid.new" "$d/pid"; } 2>/dev/null; then
    mv "$d/ending" "$d/exit-full"
    exit 1
fi
exec "$@"
' rm-agent-restic "$d" "$@"
code=$?
mv "$d/ending" "$d/exit-$code" 2>/dev/null
"""


class Running:
    """A started restic: alive or ended, whether this process or one before it started it."""

    def __init__(self, directory: JobDirectory, *, child: subprocess.Popen[bytes] | None, boot_id: str) -> None:
        self.directory = directory
        self._child = child
        self._same_boot = boot_id == linux.boot_id()

    def exit_code(self) -> int | str | None:
        """What the wrapper noted as restic's end, None while it runs or when nobody noted it."""
        code = self.directory.exit_code()
        if code is not None and self._child is not None:
            self._child.wait()
        return code

    def is_alive(self) -> bool:
        """Whether restic or its wrapper still lives."""
        if self._child is not None and self._child.poll() is None:
            return True
        if not self._same_boot:
            return False
        found = self.directory.processes()
        return found is not None and (
            linux.start_time(found.wrapper) == found.wrapper_started
            or linux.start_time(found.restic) == found.restic_started
        )

    def signal(self, number: int) -> bool:
        """Send a signal to restic itself; False when it is not there (any more, or yet)."""
        found = self.directory.processes()
        if found is None or not self._same_boot or linux.start_time(found.restic) != found.restic_started:
            return False
        return _kill(found.restic, number)

    def kill(self) -> None:
        """End restic and whatever it had started; the wrapper stays, to reap restic and to note its end."""
        found = self.directory.processes()
        if found is None or not self._same_boot:
            return
        if linux.start_time(found.restic) != found.restic_started:
            return
        for pid in linux.group_members(found.wrapper):
            if pid != found.wrapper:
                _kill(pid, signal.SIGKILL)

    def is_kept(self) -> bool:
        """Whether the process that stays with restic, or with a hook, still lives."""
        if self._child is not None:
            return self._child.poll() is None
        found = self.directory.processes()
        return self._same_boot and found is not None and linux.start_time(found.wrapper) == found.wrapper_started

    def signal_keeper(self, number: int) -> bool:
        """Send a signal to what stays with a hook; False when it is not there."""
        found = self.directory.processes()
        if found is None or not self._same_boot or linux.start_time(found.wrapper) != found.wrapper_started:
            return False
        return _kill(found.wrapper, number)

    def kill_keeper(self) -> None:
        """End what stays with a hook, so that the hook counts as lost."""
        self.signal_keeper(signal.SIGKILL)

    def kill_session(self) -> None:
        """End a hook and all that it has started and that has not left its session."""
        found = self.directory.processes()
        if found is None or not self._same_boot:
            return
        members = linux.session_members(found.restic)
        # Another process may lead a session of that number by now, but then it is as old as its own start.
        if linux.start_time(found.restic) in (None, found.restic_started):
            for pid in members:
                _kill(pid, signal.SIGKILL)


def start(
    directory: JobDirectory, *, program: str, arguments: list[str], environment: dict[str, str], intent: Intent
) -> Running:
    """Start restic under its wrapper, in a session of its own; the intent must be durable already."""
    with open(directory.out, "ab") as out, open(directory.err, "ab") as err:
        child = subprocess.Popen(
            ["/bin/sh", "-c", WRAPPER, "rm-agent-job", str(directory.path), program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd="/",
            env=environment,
            start_new_session=True,
            close_fds=True,
        )
    return Running(directory, child=child, boot_id=intent.boot_id)


class LineTail:
    """Reads complete lines from a growing file, from an offset that survives a restart."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def read(self, *, to_the_end: bool = False) -> list[bytes]:
        """The new lines; at most about 1 MiB at once. An unfinished one is given only `to_the_end`."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            return []
        complete = data.rfind(b"\n") + 1
        if complete == 0 and (len(data) >= MAX_LINE_BYTES or (to_the_end and data)):
            complete = min(len(data), MAX_LINE_BYTES)
        self.offset += complete
        return [line for line in data[:complete].replace(b"\r", b"\n").split(b"\n") if line]


@dataclass(frozen=True)
class Answer:
    """What a short call of restic gave; `code` is None when it had to be ended."""

    code: int | None
    out: bytes
    err: bytes


def ask(
    program: str, arguments: list[str], *, environment: dict[str, str], timeout_seconds: float,
    grace_seconds: float = 2, stop: threading.Event | None = None,
) -> Answer:  # fmt: skip
    """Run restic for a question, and end it and its children after the timeout, or when `stop` is set."""
    try:
        child = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(127, b"", str(error).encode())
    try:
        out, err = _communicate(child, timeout_seconds, stop)
        return Answer(child.returncode, out, err)
    except subprocess.TimeoutExpired:
        _kill(child.pid, signal.SIGINT)
        try:
            out, err = child.communicate(timeout=grace_seconds)
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)
            out, err = child.communicate()
        return Answer(None, out, err)


def _communicate(child: "subprocess.Popen[bytes]", seconds: float, stop: threading.Event | None) -> tuple[bytes, bytes]:
    if stop is None:
        return child.communicate(timeout=seconds)
    until = time.monotonic() + seconds
    while True:
        try:
            return child.communicate(timeout=STOP_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stop.is_set() or time.monotonic() > until:
                raise


def wait_for_end(running: Running, *, seconds: float) -> None:
    """Wait until restic has ended, at most for so long."""
    until = time.monotonic() + seconds
    while running.is_alive() and time.monotonic() < until:
        time.sleep(0.02)


def wait_for_pid(directory: JobDirectory, *, seconds: float) -> bool:
    """Whether the wrapper, which has claimed the start, notes its pid or the end in time."""
    until = time.monotonic() + seconds
    while directory.processes() is None and directory.exit_code() is None:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
