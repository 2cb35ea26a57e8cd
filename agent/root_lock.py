"""The lock of a root: one agent at a time works on it."""

import fcntl
import time
from typing import IO

from agent.config import Paths
from agent.errors import ConfigurationError

LOCK_SECONDS = 2.0


def acquire(paths: Paths) -> IO[bytes]:
    """The lock of this root; an agent that was killed a moment ago may hold it for an instant longer."""
    file = paths.lock_file.open("ab")
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            file.close()
            raise ConfigurationError(
                f"Another agent already runs on {paths.state}. Stop it first, or give this one its own --root."
            ) from error
        return file
