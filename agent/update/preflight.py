"""What must be true of this host before an update begins; each finding has a measured value and how to mend it."""

import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.platform import replace
from agent.update.download import FULL
from agent.update.ending import Ended, Refused
from agent.update.timers import PREFLIGHT_SECONDS
from rm.shared.release import MAX_ARTIFACT_BYTES

SPARE_BYTES = 64 * 1024 * 1024
SPARE_NAMES = 16
STATE_BYTES = 4 * 1024 * 1024
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Host:
    """What is updated and who looks after it; `artifact` is None in a source tree."""

    program: Path
    artifact: Path | None
    state: Path
    init: str
    server: str
    guard_version: str
    has_own_root: bool


def look(host: Host) -> None:
    """Raises Refused for the first thing that stands in the way, also when looking takes too long."""
    for check in (_replaceable, _container, _package, _supervisor, _directory, lambda host: check_space(host, 0)):
        check(host)


def check_guard(host: Host, guard_min: int) -> None:
    """The guard can do what the release needs of it; raises Refused."""
    version = int(host.guard_version) if host.guard_version.isdigit() else 0
    if version < guard_min:
        raise _refused(
            "guard_too_old",
            f"The guard on this host has version {host.guard_version or 'none'}; the release needs {guard_min}."
            f" On the host: curl -fsS {host.server}/install.sh | sudo sh -s -- --repair",
        )


def check_space(host: Host, size: int) -> None:
    """There is room for the artifact, twice, and for what else is written meanwhile; raises Refused."""
    directory = host.program.parent
    mount = replace.mount_of(directory)
    wanted = 2 * min(size, MAX_ARTIFACT_BYTES) + SPARE_BYTES
    if mount.free_bytes < wanted:
        text = f"{_mib(mount.free_bytes)} are free in {directory}, {_mib(wanted)} are needed. Free some space there."
        raise _refused("no_space", text)
    if mount.free_names is not None and mount.free_names < SPARE_NAMES:
        text = f"{directory} has room for {mount.free_names} more files, {SPARE_NAMES} are needed (df -i). Remove some."
        raise _refused("no_inodes", text)
    free = replace.mount_of(host.state).free_bytes
    if free < STATE_BYTES:
        text = f"{_mib(free)} are free in {host.state}, {_mib(STATE_BYTES)} are needed. Free some space there."
        raise _refused("no_space_for_state", text)


def in_time(action: Callable[[], None], *, wait: Callable[[float], None], seconds: float = PREFLIGHT_SECONDS) -> None:
    """Do it apart, so that a mount that hangs holds up nothing else; raises what it raises, or Refused."""
    found: list[BaseException] = []

    def apart() -> None:
        try:
            action()
        except (Ended, OSError) as error:
            found.append(error)

    thread = threading.Thread(target=apart, name="preflight", daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive():
        thread.join(0.1)
        waited += 0.1
        if waited >= seconds:
            text = f"Looking at this host took over {seconds:.0f} s. Does a network mount hang? Try: df"
            raise _refused("preflight_timeout", text)
        wait(0)
    if found and isinstance(found[0], OSError):
        raise _refused("preflight_failed", f"This host cannot be looked at: {found[0]}.") from found[0]
    if found:
        raise found[0]


def _replaceable(host: Host) -> None:
    if host.artifact is None:
        text = "The agent runs from a source tree and not from its one file. Install it: install.sh"
        raise _refused("not_replaceable", text)
    if os.path.realpath(host.artifact) != str(host.program) or os.path.islink(host.program):
        text = f"{host.artifact} runs, but the guard looks after {host.program}. Install it there: install.sh --repair"
        raise _refused("not_replaceable", text)


def _container(host: Host) -> None:
    # Below a directory of its own an agent is on trial, wherever that is.
    mark = "" if host.has_own_root else replace.container_image(host.program, host.init)
    if mark:
        text = (
            f"The agent is part of a container's image ({mark}), and the next container would have the old one again."
            " Use a newer image."
        )
        raise _refused("in_container", text)


def _package(host: Host) -> None:
    owner = replace.package_owner(host.program)
    if owner:
        tool = {"dpkg": "apt-get install --only-upgrade", "rpm": "dnf upgrade"}[owner]
        text = f"{host.program} belongs to a package ({owner}). Update it with the package manager: {tool} …"
        raise _refused("managed_by_package", text)


def _supervisor(host: Host) -> None:
    problem = replace.supervision_problem(host.init)
    if problem:
        text = f"Nobody would bring this host back from a bad release: {problem}. On the host: install.sh --repair"
        raise _refused("no_supervisor", text)


def _directory(host: Host) -> None:
    directory = host.program.parent
    mount = replace.mount_of(directory)
    if mount.is_sandboxed:
        raise _refused(
            "read_only",
            f"{directory} is writable, but not for the agent: ProtectSystem= of its unit shuts it out."
            f" Add ReadWritePaths={directory} (systemctl edit rm-agent), or run install.sh --repair.",
        )
    if mount.is_read_only:
        text = f"{directory} is mounted read-only. Mount it writable: mount -o remount,rw …"
        raise _refused("read_only", text)
    if not mount.runs_programs:
        text = f"{directory} is mounted noexec. Mount it without: mount -o remount,exec …"
        raise _refused("no_exec", text)
    _probe(directory)


def _probe(directory: Path) -> None:
    """What the update will do, with a file of no meaning: write, rename, start."""
    first, second = directory / ".rm-agent.probe", directory / ".rm-agent.probe2"
    disk = replace.Disk()
    try:
        disk.create(first, b"#!/bin/sh\nexit 0\n", 0o755)
        disk.rename(first, second)
        done = subprocess.run(
            [str(second)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False, cwd="/"
        )
        if done.returncode != 0:
            raise PermissionError(errno.EACCES, f"a file made there ended with {done.returncode}")
    except OSError as error:
        raise _from_probe(directory, error) from error
    except subprocess.TimeoutExpired as error:
        text = f"A file made in {directory} does not end when it is started."
        raise _refused("no_exec", text) from error
    finally:
        for path in (first, second):
            with contextlib.suppress(OSError):
                disk.unlink(path)


def _from_probe(directory: Path, error: OSError) -> Refused:
    if error.errno in FULL:
        return _refused("no_space", f"{directory} is full: {error.strerror}. Free some space there.")
    if error.errno == errno.EROFS:
        return _refused("read_only", f"{directory} is read-only: {error.strerror}. Mount it writable.")
    return _refused("not_writable", f"In {directory} a file cannot be written, renamed and started: {error.strerror}.")


def _mib(size: int) -> str:
    return f"{size // 1024 // 1024} MiB"


def _refused(reason: str, detail: str) -> Refused:
    return Refused(reason, detail, phase="preflight")
