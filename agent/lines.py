"""Reads what a restic prints piece by piece, and ends that restic when its time is over."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from types import TracebackType

MAX_PIECE_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
ERROR_BYTES = 64 * 1024
LOOK_SECONDS = 0.2
GRACE_SECONDS = 1.0


class OutOfTime(Exception):
    """The one who asked waits no longer; restic was ended."""


class Lines:
    """A restic that reads only; leaving the context ends it."""

    def __init__(
        self, program: str, arguments: list[str], *, environment: dict[str, str], is_over: Callable[[], bool]
    ) -> None:
        self._command = [program, *arguments]
        self._environment = environment
        self._is_over = is_over
        self._child: subprocess.Popen[bytes] | None = None
        self._error = b""

    def __enter__(self) -> "Lines":
        """Start it; raises OSError."""
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self._environment,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            _signal(child.pid, signal.SIGINT)
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(child.pid, signal.SIGKILL)
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()
        child.wait()

    @property
    def code(self) -> int:
        """Its exit code, once all pieces were read."""
        return self._child.wait() if self._child else 127

    @property
    def error_text(self) -> str:
        """The last that it said on its error output."""
        return self._error.decode("utf-8", "backslashreplace")

    def pieces(self, separator: bytes = b"\n") -> Generator[bytes, None, None]:
        """What it prints, between separators; a piece over 4 MiB is left out. Raises OutOfTime."""
        rest = b""
        skips = False
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(separator)
            for piece in whole:
                if not skips:
                    yield piece
                skips = False
            if len(rest) > MAX_PIECE_BYTES:
                rest, skips = rest[-len(separator) :], True
        if rest and not skips:
            yield rest

    def _chunks(self) -> Generator[bytes, None, None]:
        child = self._child
        if child is None or child.stdout is None or child.stderr is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            selector.register(child.stderr, selectors.EVENT_READ)
            while selector.get_map():
                if self._is_over():
                    raise OutOfTime
                for key, _ in selector.select(LOOK_SECONDS):
                    data = os.read(key.fd, CHUNK_BYTES)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is child.stderr:
                        self._error = (self._error + data)[-ERROR_BYTES:]
                    else:
                        yield data
        while child.poll() is None:
            if self._is_over():
                raise OutOfTime
            time.sleep(0.01)


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return
