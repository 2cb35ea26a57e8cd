"""Stays with one hook, as a process of its own that outlives the agent: bounds its time and its output, notes its end.

The agent starts it as `python -c <this file> DIRECTORY SECONDS GRACE PROGRAM …`; it imports nothing of the agent.
"""

import contextlib
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

MAX_BYTES = 256 * 1024
MAX_LINES = 2000
CHUNK_BYTES = 64 * 1024
POLL_SECONDS = 0.1
LAST_WORDS_SECONDS = 1.0


class Output:
    """Keeps the beginning of what a hook prints and counts the rest."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._bytes = self._lines = 0
        self.total = 0
        self.is_cut = False

    def take(self, data: bytes) -> None:
        self.total += len(data)
        if self.is_cut:
            return
        kept = data[: MAX_BYTES - self._bytes]
        lines = kept.split(b"\n", MAX_LINES - self._lines)
        if len(lines) > MAX_LINES - self._lines:
            kept = kept[: len(kept) - len(lines[-1])]
        self._bytes += len(kept)
        self._lines += kept.count(b"\n")
        self.is_cut = len(kept) < len(data)
        try:
            while kept:
                kept = kept[os.write(self._handle, kept) :]
        except OSError:
            self.is_cut = True


class Keeper:
    """One hook from its start to its end."""

    def __init__(self, directory: str, seconds: float, grace: float, program: list[str]) -> None:
        self._directory = directory
        self._seconds = seconds
        self._grace = grace
        self._program = program
        self._is_told = False
        self._output = Output(f"{directory}/out")

    def run(self) -> None:
        """Start the hook, stay with it, and note how it ended."""
        signal.signal(signal.SIGTERM, self._told)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        gate, opener = os.pipe()
        hook = os.fork()
        if hook == 0:
            os.close(opener)
            self._become(gate, writing)
        os.close(writing)
        os.close(gate)
        try:
            self._note_pids(hook)
        except OSError:
            os.kill(hook, signal.SIGKILL)
            os.waitpid(hook, 0)
            os.rename(f"{self._directory}/ending", f"{self._directory}/exit-full")
            return
        os.write(opener, b"g")
        os.close(opener)
        code = self._stay(hook, reading)
        if self._output.is_cut:
            self._write("cut", str(self._output.total))
        self._note_end(code if code >= 0 else 128 - code)

    def _become(self, gate: int, writing: int) -> NoReturn:
        """In the child: wait until its pid is written down, since it may kill whoever should do that, then be it."""
        try:
            os.setsid()
            if os.read(gate, 1) != b"g":
                os._exit(125)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os.closerange(3, 256)
            os.umask(0o022)
            os.chdir("/")
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            os.execv(self._program[0], self._program)  # noqa: S606 - a shell could start it before its pid is noted
        except OSError as error:
            os.write(2, f"cannot be started: {error.strerror}\n".encode())
        finally:
            os._exit(126)

    def _stay(self, hook: int, reading: int) -> int:
        """Stay until the hook has ended; its exit code, negative for a signal."""
        until = time.monotonic() + self._seconds
        kill_at: float | None = None
        is_open = True
        while (code := _ended(hook)) is None:
            if is_open:
                is_open = self._read(reading, POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
            if kill_at is None and (self._is_told or time.monotonic() > until):
                if not self._is_told:
                    self._write("timed_out", "")
                _end_session(hook, signal.SIGTERM)
                kill_at = time.monotonic() + self._grace
            elif kill_at is not None and time.monotonic() > kill_at:
                _end_session(hook, signal.SIGKILL)
        if kill_at is not None:
            _end_session(hook, signal.SIGKILL)
        # What it started may hold the pipe for ever; only what is there already is taken.
        last = time.monotonic() + LAST_WORDS_SECONDS
        while is_open and time.monotonic() < last and select.select([reading], [], [], 0)[0]:
            is_open = self._read(reading, 0)
        return code

    def _read(self, reading: int, seconds: float) -> bool:
        """Take what there is; False once nobody can write any more."""
        if not select.select([reading], [], [], seconds)[0]:
            return True
        try:
            data = os.read(reading, CHUNK_BYTES)
        except BlockingIOError:
            return True
        self._output.take(data)
        return bool(data)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._is_told = True

    def _note_pids(self, hook: int) -> None:
        own = os.getpid()
        self._write("pid.new", f"{hook} {_started(hook)} {own} {_started(own)}\n", is_needed=True)
        os.rename(f"{self._directory}/pid.new", f"{self._directory}/pid")

    def _write(self, name: str, text: str, *, is_needed: bool = False) -> None:
        with contextlib.ExitStack() as stack:
            if not is_needed:
                stack.enter_context(contextlib.suppress(OSError))
            handle = os.open(f"{self._directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            stack.callback(os.close, handle)
            os.write(handle, text.encode())

    def _note_end(self, code: int) -> None:
        os.rename(f"{self._directory}/ending", f"{self._directory}/exit-{code}")


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _started(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2].split()[19]
    except (OSError, IndexError):
        return "0"


def _end_session(session: int, number: int) -> None:
    """Signal everything that the hook has started and that has not left its session."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(") ")[2].split()
            if fields[3] == str(session):
                os.kill(int(entry), number)
        except (OSError, IndexError):
            continue


def main(arguments: list[str]) -> None:
    """Keep the hook that the arguments name, unless somebody has forbidden its start."""
    directory, seconds, grace, *program = arguments
    os.umask(0o077)
    try:
        os.mkdir(f"{directory}/claim")
    except OSError:
        return
    Keeper(directory, float(seconds), float(grace), program).run()


if __name__ == "__main__":
    main(sys.argv[1:])
