"""The data directory: made once, private, and held by one server at a time."""

import fcntl
import os
from pathlib import Path

from rm.errors import NotReady


class DataDirLock:
    """Holds the data directory until the process ends, whichever way it ends."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NotReady(f"The data directory {directory} cannot be used: {error}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise NotReady(
                f"Another server already runs on {directory}. Two servers on one database would lose data; "
                "stop the other one first."
            ) from error

    def release(self) -> None:
        os.close(self._fd)


def give_to_owner_of(directory: Path, path: Path) -> None:
    """Root may make a file for a server that runs as somebody else, who must be able to read it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
