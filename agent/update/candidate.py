"""Asking the new program itself whether it can run here, before it takes the place of the old one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.update.ending import Failed
from agent.update.timers import SELFTEST_SECONDS

MAX_ANSWER_BYTES = 64 * 1024
# What belongs to this process and its supervisor alone.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RM_GUARD_ALIVE", "INVOCATION_ID")
# What may be wrong with the host rather than with the release: charged only if it is well with this one.
_SHARED = ("restic", "server", "config", "secrets", "state")
_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class Expected:
    """What the candidate must say of itself."""

    version: str
    seq: int
    sha256: str


def selftest(
    program: Path,
    *,
    root: str | None,
    expected: Expected,
    own: Callable[[], dict[str, str]],
    wait: Callable[[float], None],
    seconds: float = SELFTEST_SECONDS,
) -> None:  # fmt: skip
    """Raises Failed when the candidate is not what was ordered, or is worse off than this agent (`own`)."""
    found = _run(program, root=root, wait=wait, seconds=seconds)
    release = found.get("release")
    told = release if isinstance(release, dict) else {}
    if (told.get("version"), told.get("seq"), told.get("sha256")) != (
        expected.version,
        expected.seq,
        expected.sha256,
    ):
        said = f"{told.get('version')} ({told.get('seq')})"
        text = f"The candidate says it is {said}, not {expected.version} ({expected.seq})."
        raise _failed("selftest_wrong_release", text[:500])
    checks = found.get("checks")
    checks = checks if isinstance(checks, dict) else {}
    red = {name: str(text) for name, text in checks.items() if text not in ("ok", "none")}
    if red:
        known = own()
        red = {name: text for name, text in red.items() if name not in _SHARED or known.get(name) in ("ok", "none")}
    for name, text in red.items():
        raise _failed(f"selftest_{name}"[:64], f"The candidate's own test failed on {name}: {text}"[:500])


def _run(program: Path, *, root: str | None, wait: Callable[[float], None], seconds: float) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _OWN}
    command = [sys.executable, "-I", str(program), *(["--root", root] if root else []), "selftest", "--json"]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed("selftest_not_started", f"The candidate cannot be started: {error}.") from error
    try:
        out, waited = b"", 0.0
        while True:
            try:
                out, _ = child.communicate(timeout=_WAIT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                waited += _WAIT_SECONDS
                if waited >= seconds:
                    raise _failed("selftest_timeout", f"The candidate's own test took over {seconds:.0f} s.") from None
                wait(0)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdout:
            child.stdout.close()
    # The answer is the last line: what a library prints before it does not count.
    last = out[-MAX_ANSWER_BYTES:].decode("utf-8", "replace").strip().rpartition("\n")[2]
    try:
        found = json.loads(last)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        text = f"The candidate ended its own test with exit code {child.returncode}: {last[:300] or 'no word'}"
        raise _failed("selftest_crashed", text)
    return found


def _failed(reason: str, detail: str) -> Failed:
    return Failed(reason, detail, phase="selftest")
