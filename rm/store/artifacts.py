"""The files of releases, in <data>/releases under the sha256 of what they hold: whole, or not there."""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from rm.store.data_dir import give_to_owner_of

CHUNK = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ArtifactDiffers(ValueError):
    """A file is not what the manifest says; the text tells how."""


def directory(data_dir: Path) -> Path:
    return data_dir / "releases"


def find(data_dir: Path, sha256: str) -> Path | None:
    """The file that holds these bytes; None for what is no sha256, whatever else it may name."""
    if not _SHA256.fullmatch(sha256):
        return None
    path = directory(data_dir) / sha256
    return path if path.is_file() else None


def check(path: Path, *, size: int, sha256: str) -> None:
    """Raises ArtifactDiffers unless the file has exactly this size and hash; reads no more than that size."""
    if not path.is_file():
        # A pipe, for one, would be waited for without end.
        raise FileNotFoundError(f"{path} is no file")
    _read(path, size=size, sha256=sha256, copy_to=None)


def keep(path: Path, data_dir: Path, *, size: int, sha256: str) -> bool:
    """Copy a file in, hashed once more on the way; False when it was there. Raises ArtifactDiffers."""
    place = directory(data_dir)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_to_owner_of(data_dir, place)
    there = find(data_dir, sha256)
    if there is not None and _is(there, size=size, sha256=sha256):
        return False
    draft = place / f".{sha256}.{os.getpid()}"
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            _read(path, size=size, sha256=sha256, copy_to=file)
            give_to_owner_of(data_dir, draft)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, place / sha256)
    finally:
        draft.unlink(missing_ok=True)
    _sync(place)
    return True


def forget(data_dir: Path, sha256: str) -> None:
    """Remove what `keep` brought in, when the release did not come to be."""
    path = find(data_dir, sha256)
    if path is not None:
        path.unlink(missing_ok=True)


def _is(path: Path, *, size: int, sha256: str) -> bool:
    try:
        check(path, size=size, sha256=sha256)
    except (ArtifactDiffers, OSError):
        return False
    return True


def _read(path: Path, *, size: int, sha256: str, copy_to: BinaryIO | None) -> None:
    digest = hashlib.sha256()
    left = size
    with path.open("rb") as file:
        while chunk := file.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ArtifactDiffers(f"{path.name} is longer than the {size} bytes that the manifest says.")
            digest.update(chunk)
            if copy_to is not None:
                copy_to.write(chunk)
    if left:
        raise ArtifactDiffers(f"{path.name} has {size - left} bytes; the manifest says {size}.")
    if digest.hexdigest() != sha256:
        raise ArtifactDiffers(f"{path.name} has the sha256 {digest.hexdigest()}; the manifest says {sha256}.")


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
