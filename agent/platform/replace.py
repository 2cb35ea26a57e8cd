"""Replacing a running program, and what this platform says about whether that can last.

Every step on the disk is one method of `Disk`, so that tests can record the steps and cut them off anywhere.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ASK_SECONDS = 5.0
UNIT = "rm-agent.service"
TRIAL_UNIT = "rm-agent-trial.path"
_CHUNK_BYTES = 1024 * 1024
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


class Disk:
    """The steps of which every change is made; none is durable before the sync that belongs to it."""

    def create(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        """A new file with these bytes, in place of any before."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)

    def copy(self, source: Path, target: Path) -> None:
        """A second file with the same bytes and mode."""
        shutil.copy2(source, target)

    def link(self, source: Path, target: Path) -> None:
        """A second name for the same file; raises OSError where the file system has none."""
        os.link(source, target, follow_symlinks=False)

    def mode(self, path: Path, mode: int) -> None:
        """Who may do what with the file."""
        os.chmod(path, mode)

    def rename(self, source: Path, target: Path) -> None:
        """Give the file its other name, in place of what had it."""
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        """Take the name away if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def sync(self, path: Path) -> None:
        """Make the bytes of a file durable."""
        self._sync(path, os.O_RDONLY | os.O_NOFOLLOW)

    def sync_names(self, directory: Path) -> None:
        """Make the names in a directory durable."""
        self._sync(directory, os.O_RDONLY | os.O_DIRECTORY)

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        """Replace a file as a whole and durably; for files that one process writes, hence one name for the new one."""
        new = path.with_name(f".{path.name}.new")
        try:
            self.create(new, data, mode)
            self.sync(new)
            self.rename(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.unlink(new)
            raise
        self.sync_names(path.parent)

    def _sync(self, path: Path, flags: int) -> None:
        handle = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(path: Path, *, from_disk: bool = False) -> str:
    """The hash of a file, empty where there is none; `from_disk` reads past what the kernel keeps in memory."""
    seen = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            if from_disk:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while data := file.read(_CHUNK_BYTES):
                seen.update(data)
    except FileNotFoundError:
        return ""
    return seen.hexdigest()


@dataclass(frozen=True)
class Mount:
    """The file system that a directory lies on; `is_sandboxed`: it is writable, but not for this process."""

    free_bytes: int
    free_names: int | None
    is_read_only: bool
    is_sandboxed: bool
    runs_programs: bool


def mount_of(directory: Path) -> Mount:
    """Raises OSError when it cannot be looked at."""
    found = os.statvfs(directory)
    is_read_only = bool(found.f_flag & os.ST_RDONLY)
    return Mount(
        free_bytes=found.f_bavail * found.f_frsize,
        # Some file systems do not count names.
        free_names=found.f_favail if found.f_files else None,
        is_read_only=is_read_only,
        is_sandboxed=is_read_only and "rw" in _superblock_options(directory),
        runs_programs=not found.f_flag & os.ST_NOEXEC,
    )


def _superblock_options(directory: Path) -> list[str]:
    """How the file system itself is mounted, whatever this process is shown of it."""
    place = os.path.realpath(directory)
    best, options = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            fields, _, rest = line.partition(" - ")
            point = fields.split()[4].encode("utf-8").decode("unicode_escape", "replace")
            is_above = place == point or place.startswith(point.rstrip("/") + "/")
            if is_above and len(point) >= len(best):
                best, options = point, rest.split()[-1]
    return options.split(",")


def package_owner(program: Path) -> str:
    """The package manager that says the file is its own; empty when none does."""
    for asked in (("dpkg", "-S"), ("rpm", "-qf")):
        tool = shutil.which(asked[0])
        if tool and _ask(tool, asked[1], str(program))[0] == 0:
            return asked[0]
    return ""


def container_image(program: Path, init: str) -> str:
    """What says that the program came with a container's image, and would again; empty when it did not."""
    if init == "systemd":
        return ""
    mark = next((mark for mark in _CONTAINER_MARKS if os.path.exists(mark)), "")
    # The name is small: that is how container engines write it.
    mark = mark or ("the variable container" if os.environ.get("container") else "")  # noqa: SIM112
    is_of_the_image = os.stat(program.parent).st_dev == os.stat("/").st_dev
    return mark if is_of_the_image else ""


def supervision_problem(init: str) -> str:
    """Why nobody would start the agent again or keep the time limit of its trial, in words; empty when all is well."""
    if init == "supervisor":
        return ""
    if init != "systemd":
        return "no service manager starts it"
    tool = shutil.which("systemctl")
    if tool is None:
        return "systemctl is not there to be asked"
    code, text = _ask(tool, "show", UNIT, "--property=Restart", "--value")
    if code != 0 or text != "always":
        return f"{UNIT} has Restart={text or 'unknown'} instead of always"
    code, text = _ask(tool, "is-active", TRIAL_UNIT)
    return "" if code == 0 else f"{TRIAL_UNIT}, which keeps the time limit of an update's trial, is {text or 'unknown'}"


def _ask(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return 127, ""
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()
