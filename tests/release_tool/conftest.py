"""Keys that are thrown away, and a release made with them in little time."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.releases import WHEELS
from release_tool import gate
from release_tool.__main__ import main
from release_tool.keys import ALLOW_IMAGE

MINISIGN = shutil.which("minisign")
needs_minisign = pytest.mark.skipif(MINISIGN is None, reason="needs minisign: apt-get install minisign")


@pytest.fixture(autouse=True)
def gate_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of the gate, in which this tree's agent stands."""
    record = tmp_path / "gate.json"
    monkeypatch.setattr(gate, "RECORD", record)
    record.write_text(json.dumps([{"contents": gate.contents_of_tree(WHEELS)}]))
    return record


@pytest.fixture
def keys_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where keys would be; none are made yet."""
    directory = tmp_path / "keys"
    monkeypatch.setenv("RM_KEYS_DIR", str(directory))
    monkeypatch.setenv(ALLOW_IMAGE, "1")
    monkeypatch.delenv("RM_DATA_DIR", raising=False)
    return directory


@pytest.fixture
def keys(keys_dir: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The directory with keys in it."""
    assert main(["keys"]) == 0
    capsys.readouterr()
    return keys_dir


@pytest.fixture
def made(keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A built and signed release, sequence 5."""
    directory = tmp_path / "release"
    assert main(["build", "--version", "1.5.0", "--seq", "5", "--output", str(directory)]) == 0
    assert main(["sign", str(directory)]) == 0
    capsys.readouterr()
    return directory


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refused(*arguments) → what rm-release said on standard error while it refused."""

    def refused(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    return refused


def minisign(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The stock program."""
    return subprocess.run(
        [str(MINISIGN), *(str(argument) for argument in arguments)],
        capture_output=True, text=True, check=False, timeout=50, stdin=subprocess.DEVNULL,
    )  # fmt: skip
