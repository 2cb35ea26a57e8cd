"""Files that survive a crash: temp, fsync, rename, fsync of the directory."""

import contextlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

log = logging.getLogger("agent.durable")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file as a whole: after a crash it holds either the old bytes or the new ones."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def write_quick(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file as a whole for readers, without waiting for the disk."""
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


class KeptFile:
    """A small JSON object on the disk; what cannot be read counts as empty and is replaced at the next write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any]:
        """What the file holds."""
        try:
            raw = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.error("%s cannot be read and counts as empty: %s", self.path, error)
            return {}
        return raw if isinstance(raw, dict) else {}

    def save(self, body: dict[str, Any]) -> None:
        """Replace it as a whole; raises OSError when the disk refuses it."""
        write(self.path, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
