"""Where restored files go: below the host's restore directory, which nobody but the agent's user may enter."""

import errno
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agent.contents import NotReadable

NOT_ALLOWED = (
    "Files are restored below {directory} on this host, and nowhere else. Choose a folder there, or none at all."
)
IN_PLACE_NOT_ALLOWED = (
    "The owner of this host has not allowed restores to the old place. To allow them, run as root on the host:"
    " install.sh --repair --allow-restore-in-place (without systemd: set restore_in_place = true in agent.toml and"
    " restart the agent). Without it, restore to the restore directory and copy from there."
)
SHUT_OUT = (
    "The agent's service may not write outside of its own folders on this host. Run as root there:"
    " install.sh --repair --allow-restore-in-place"
)


@dataclass(frozen=True)
class Places:
    """What the host's owner allows: the restore directory, and whether files may return to their old place."""

    directory: Path
    allows_in_place: bool = False

    def target(self, wanted: str, *, job_id: str, is_in_place: bool) -> Path:
        """Where this job restores to; nothing is made yet. Raises NotReadable."""
        if is_in_place:
            return self._in_place()
        target = Path(wanted) if wanted else self.directory / job_id
        parts = wanted.split("/")
        try:
            below = target.relative_to(self.directory)
        except ValueError:
            below = Path()
        if ".." in parts or "\0" in wanted or not below.parts:
            raise NotReadable("target_not_allowed", NOT_ALLOWED.format(directory=self.directory))
        return target

    def _in_place(self) -> Path:
        if not self.allows_in_place:
            raise NotReadable("in_place_not_allowed", IN_PLACE_NOT_ALLOWED)
        if os.statvfs("/").f_flag & os.ST_RDONLY:
            raise NotReadable("target_not_writable", SHUT_OUT)
        return Path("/")

    def make(self, target: Path) -> None:
        """Make the target, new or empty, through no symbolic link; raises NotReadable."""
        try:
            self._make(target)
        except OSError as error:
            text = f"{error.filename or target} cannot be made or written to ({error.strerror}). Nothing was restored."
            raise NotReadable("target_not_writable", text) from error

    def _make(self, target: Path) -> None:
        self.directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with ExitStack() as opened:
            handle = _opened(opened, os.open(self.directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            handle = _opened(opened, _enter(self.directory, handle))
            self._tighten(handle)
            folder = self.directory
            for name in target.relative_to(self.directory).parts:
                folder = folder / name
                handle = _opened(opened, _enter(folder, handle))
            if os.listdir(handle):
                text = f"{target} is not empty. Choose another folder: files there might be overwritten."
                raise NotReadable("target_not_empty", text)
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=handle):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))

    def _tighten(self, handle: int) -> None:
        """See that nobody else may enter the restore directory, or change a path in it meanwhile."""
        own = os.fstat(handle)
        if own.st_uid != os.geteuid():
            text = f"{self.directory} belongs to another user. It must belong to the one that the agent runs as."
            raise NotReadable("target_not_writable", text)
        if own.st_mode & 0o077:
            os.fchmod(handle, 0o700)


def _opened(opened: ExitStack, handle: int) -> int:
    opened.callback(os.close, handle)
    return handle


def _enter(folder: Path, above: int) -> int:
    """The folder, made if need be, in the one that is open; a symbolic link is refused."""
    try:
        try:
            os.mkdir(folder.name, 0o700, dir_fd=above)
        except FileExistsError:
            if stat.S_ISLNK(os.lstat(folder.name, dir_fd=above).st_mode):
                text = f"{folder} is a symbolic link. Files are not restored through links; use a folder or a mount."
                raise NotReadable("target_not_allowed", text) from None
        return os.open(folder.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except OSError as error:
        error.filename = str(folder)
        raise
