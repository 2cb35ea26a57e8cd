"""`rm-agent uninstall`: takes the agent off this host, and says what stays."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from agent import status
from agent.config import Paths
from agent.errors import AgentError
from agent.job_directory import JobDirectory
from agent.platform import linux
from rm.shared.words import counted

LIBRARY = Path("/usr/local/lib/restic-manager")
LINK = Path("/usr/local/bin/rm-agent")
UNIT = Path("/etc/systemd/system/rm-agent.service")
TRIAL_PATH = Path("/etc/systemd/system/rm-agent-trial.path")
TRIAL_SERVICE = Path("/etc/systemd/system/rm-agent-trial.service")
WRITABLE = Path("/etc/systemd/system/rm-agent.service.d/10-writable.conf")
COMMAND_SECONDS = 60.0


class StillInUse(AgentError):
    """Something of the agent's still runs; nothing was removed."""


def uninstall(paths: Paths, *, is_installed: bool) -> Iterator[str]:
    """Remove the agent and tell each step; raises StillInUse, and then nothing was removed.

    `is_installed`: the agent of this host, with its unit, and not one below a directory of its own.
    """
    running = list(_restic_at_work(paths))
    if running:
        raise StillInUse(
            f"Job {', '.join(running)} runs restic on this host. Let it end or cancel it on the host's page,"
            " then run this again."
        )
    if is_installed and UNIT.exists():
        # First what would start the agent again.
        if TRIAL_PATH.exists():
            _systemctl("disable", "--now", TRIAL_PATH.name)
            _systemctl("stop", TRIAL_SERVICE.name)
        _systemctl("disable", "--now", UNIT.name)
        yield "Stopped the agent and took it out of the boot."
    found = status.read(paths)
    if found is not None and status.is_running(found):
        raise StillInUse(f"The agent still runs (pid {found.pid}). Stop what started it, then run this again.")
    yield from _remove(paths, is_installed=is_installed)
    yield from _left(paths, is_installed=is_installed)


def _restic_at_work(paths: Paths) -> Iterator[str]:
    """The jobs whose restic lives, with the agent or without it."""
    with contextlib.suppress(OSError):
        for place in sorted(paths.jobs.iterdir()):
            found = JobDirectory(place).processes()
            if found is not None and linux.start_time(found.restic) == found.restic_started:
                yield place.name


def _remove(paths: Paths, *, is_installed: bool) -> Iterator[str]:
    program = LIBRARY if is_installed else paths.bin
    files = [paths.config_file, *([UNIT, TRIAL_PATH, TRIAL_SERVICE, WRITABLE, LINK] if is_installed else [])]
    for tree in (program, paths.state):
        if tree is not None and tree.exists():
            shutil.rmtree(tree)
            yield f"Removed {tree}"
    for file in files:
        if file.is_symlink() or file.exists():
            file.unlink()
            yield f"Removed {file}"
    if is_installed and Path("/run/systemd/system").is_dir():
        _systemctl("daemon-reload")
        _systemctl("reset-failed", UNIT.name)
    for directory in (
        WRITABLE.parent if is_installed else None, paths.hooks, paths.config_file.parent, paths.restore
    ):  # fmt: skip
        _remove_empty(directory)
    _remove_empty(paths.restore.parent if is_installed else None)


def _left(paths: Paths, *, is_installed: bool) -> Iterator[str]:
    kept = [paths.restore, paths.config_file.parent, *([WRITABLE.parent] if is_installed else [])]
    for directory in kept:
        if directory.is_dir():
            yield f"Left {directory} with {_count(directory)}; remove it if you no longer need it."
    yield "Left all backups in their repositories, and restic itself: restic alone restores them."
    yield "Left this host's page on the server: remove the host there when its history is no longer wanted."


def _count(directory: Path) -> str:
    entries = len(os.listdir(directory))
    return counted(entries, "entry", "entries")


def _remove_empty(directory: Path | None) -> None:
    if directory is not None:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _systemctl(*arguments: str) -> None:
    program = shutil.which("systemctl")
    if program is None:
        return
    try:
        subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StillInUse(f"systemctl {' '.join(arguments)} did not work: {error}. Nothing was removed.") from error
