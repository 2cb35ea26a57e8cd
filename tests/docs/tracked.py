"""The files that belong to the repository, as git lists them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def tracked_files() -> list[Path]:
    """Every file that is committed or would be; skips the test outside a git checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so there is no list of tracked files")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def tracked_texts() -> list[tuple[Path, str]]:
    """Path within the repository and text of every tracked file that is UTF-8 text."""
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" in data[:8000]:
            continue
        found.append((path.relative_to(ROOT), data.decode("utf-8", "replace")))
    return found
