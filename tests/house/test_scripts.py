"""The scripts behind the verbs say clearly what is missing."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOR_THE_SCRIPT = ("bash", "dirname", "id", "find", "env")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with what the script itself needs, and nothing that it looks for."""
    for name in FOR_THE_SCRIPT:
        found = next(Path(place, name) for place in ("/usr/bin", "/bin") if Path(place, name).exists())
        (tmp_path / name).symlink_to(found)
    return tmp_path


def run(*command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": str(path)} if path else dict(os.environ)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=50, check=False)


def test_without_the_right_to_install_it_names_the_packages(bare: Path) -> None:
    done = run("scripts/system-packages", "restic", "shellcheck", path=bare)

    assert done.returncode == 1
    assert "apt-get install restic shellcheck" in done.stderr


def test_what_is_optional_is_named_but_does_not_stop(bare: Path) -> None:
    done = run("scripts/system-packages", "--optional", "restic", path=bare)

    assert done.returncode == 0
    assert "restic" in done.stderr


def test_what_is_there_needs_no_word() -> None:
    done = run("scripts/system-packages", "make")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_thing_is_refused() -> None:
    assert run("scripts/system-packages", "sunshine").returncode == 2


def test_no_suitable_python_is_said_with_the_package_to_install(bare: Path) -> None:
    env = {**os.environ, "PATH": str(bare), "PYTHON": "no-such-python"}

    done = subprocess.run(["scripts/find-python"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def test_make_alone_lists_every_verb_with_a_line() -> None:
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)

    listing = run("make").stdout

    assert [verb for verb in verbs if not re.search(rf"^  {verb} +\S", listing, re.MULTILINE)] == []
