"""Plays the end-to-end tests so that nothing of them stays, however they end: `python -m e2e [pytest's arguments]`."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Not below /tmp: an overlay cannot keep its layers on another overlay, which that may be.
PLACE = Path("/var/tmp/restic-manager-e2e")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Processes and mounts of their own: when the first of the processes ends, the kernel ends all, and the mounts are gone.
# The first ends with this program, even when that is killed.
ALONE = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """pytest's exit code."""
    pytest = [sys.executable, "-m", "pytest", "e2e", "-s", *arguments]
    if os.getuid() != 0:
        # It says itself what is missing.
        return subprocess.run(pytest, cwd=ROOT, check=False).returncode
    return alone([*pytest, "--basetemp", str(PLACE / "pytest")], PLACE)


def alone(command: Sequence[str], place: Path) -> int:
    """Run a command with nobody else in the place, which is empty before and gone after; its exit code."""
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("The end-to-end tests are being played on this machine already; waiting for their end.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        # What a run left that was killed together with this program.
        sweep(place)
        (place / "tmp").mkdir(parents=True)
        environment = os.environ | {
            "RM_E2E_PLACE": str(place),
            "RM_E2E_RUN": mark_of(place),
            "TMPDIR": str(place / "tmp"),
        }
        child = subprocess.Popen([*ALONE, *command], cwd=ROOT, env=environment)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: child.kill())
        # Ctrl-C reaches the tests themselves, which end in good order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return child.wait()
        finally:
            sweep(place)


def mark_of(place: Path) -> str:
    """What the names of the machines of a place end with."""
    return f"e2e-{hashlib.sha256(os.fsencode(place)).hexdigest()[:6]}"


def sweep(place: Path, *, seconds: float = 30) -> None:
    """Remove the place and its machines' control groups; what is dying holds them for a moment."""
    end = time.monotonic() + seconds
    while True:
        shutil.rmtree(place, ignore_errors=True)
        groups = [*CONTROL_GROUPS.glob(f"*-{mark_of(place)}"), *CONTROL_GROUPS.glob(f"*/*-{mark_of(place)}")]
        for top in groups:
            for group in [*sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True), top]:
                # A group in which something still runs cannot be removed.
                with contextlib.suppress(OSError):
                    group.rmdir()
        left = [path for path in (place, *groups) if path.exists()]
        if not left:
            return
        if time.monotonic() > end:
            print(f"This could not be removed: {' '.join(map(str, left))}", file=sys.stderr)
            return
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
