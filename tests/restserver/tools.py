"""The later restic and the rest-server that scripts/newer-restic fetched, and servers started from them."""

import base64
import hashlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = "no later restic and no rest-server are here; fetch them with scripts/newer-restic"


@lru_cache(maxsize=1)
def newer_directory() -> Path | None:
    """Where `restic` and `restic-rest-server` of a later suite are; None before they were fetched."""
    done = subprocess.run([ROOT / "scripts/newer-restic", "--where"], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def program(which: str) -> str:
    """The path of the installed or the newer restic; skips the test that has none."""
    if which == "installed":
        return "restic"
    found = newer_directory()
    if found is None:
        pytest.skip(MISSING)
    return str(found / "restic")


def htpasswd(users: dict[str, str]) -> str:
    """The lines of a .htpasswd; SHA-1 is what the format offers without bcrypt, and is enough for a test."""
    return "".join(
        f"{name}:{{SHA}}{base64.b64encode(hashlib.sha1(secret.encode()).digest()).decode()}\n"
        for name, secret in users.items()
    )


@contextmanager
def rest_server(data: Path, *options: str) -> Iterator[str]:
    """A rest-server on a free port of this machine; its URL ends with a slash."""
    directory = newer_directory()
    if directory is None:
        pytest.skip(MISSING)
    child = subprocess.Popen(
        [directory / "restic-rest-server", "--path", data, "--listen", "127.0.0.1:0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert child.stdout
        for line in child.stdout:
            found = re.search(r"start server on .*?(127\.0\.0\.1:\d+)", line)
            if found:
                yield f"http://{found[1]}/"
                return
        raise AssertionError("the rest-server did not start")
    finally:
        child.kill()
        child.communicate(timeout=40)
