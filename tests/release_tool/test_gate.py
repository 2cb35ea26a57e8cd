"""What did not go to hosts, back and on is not signed."""

import json
import os
import signal
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path

import pytest

from demo.releases import WHEELS, with_code
from demo.waiting import until
from release_tool import building, gate
from release_tool.__main__ import main
from release_tool.errors import ToolError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


class Ran:
    """Stands in for the run of the gate's tests, which takes minutes and is a test of its own."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> int:
        if "pytest" not in command:
            raise AssertionError(command)
        self.commands.append(command)
        return self.code


@pytest.fixture
def built(keys: Path, tmp_path: Path) -> Path:
    assert main(["build", "--output", str(tmp_path / "release")]) == 0
    return tmp_path / "release"


def test_an_agent_that_did_not_pass_is_not_signed_and_the_sentence_says_what_to_run(built, gate_passed, refused):
    gate_passed.unlink()

    assert "scripts/rm-release gate" in refused("sign", built)
    assert not (built / "manifest.json.minisig").exists()


@pytest.mark.parametrize("damage", ["{", "[]", "null", '[{"contents": 5}]', "[5]"])
def test_a_damaged_record_counts_as_not_passed(built, gate_passed, refused, damage):
    gate_passed.write_text(damage)

    assert "did not pass the gate" in refused("sign", built)


def test_an_agent_that_differs_in_one_line_from_the_one_that_passed_is_not_signed(built, refused):
    artifact = built / building.NAME
    with_code(artifact, "pass")
    manifest = json.loads((built / "manifest.json").read_bytes())
    manifest["artifacts"][0] |= {"size": artifact.stat().st_size, "sha256": building.sha256_of(artifact)}
    (built / "manifest.json").write_text(json.dumps(manifest))

    assert "did not pass the gate" in refused("sign", built)


def test_the_same_sources_under_another_version_have_passed_too(keys, tmp_path):
    for seq, version in ((5, "1.5.0"), (6, "1.5.1")):
        directory = tmp_path / version
        assert main(["build", "--version", version, "--seq", str(seq), "--output", str(directory)]) == 0
        assert main(["sign", str(directory)]) == 0


def test_passing_is_remembered_and_not_asked_for_twice(gate_passed, monkeypatch):
    gate_passed.unlink()
    ran = Ran(0)
    monkeypatch.setattr(gate, "play", ran)

    first = gate.pass_through(now=NOW, wheels_in=WHEELS)
    gate.pass_through(now=NOW, wheels_in=WHEELS)

    assert first in gate.passed()
    assert len(ran.commands) == 1


def test_a_gate_that_fails_remembers_nothing(gate_passed, monkeypatch, refused):
    gate_passed.unlink()
    monkeypatch.setattr(gate, "play", Ran(1))

    assert "did not let this agent pass" in refused("gate")
    assert gate.passed() == frozenset()


WAITS = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1])
try:
    (place / "runs").touch()
    time.sleep(120)
finally:
    (place / "tidied-up").touch()
"""


def test_whoever_stops_the_gate_stops_its_tests_which_tidy_up(tmp_path):
    def stop() -> None:
        until((tmp_path / "runs").exists, seconds=60, what="the tests run")
        os.kill(os.getpid(), signal.SIGTERM)

    usual = signal.getsignal(signal.SIGTERM)
    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(ToolError, match="was stopped"):
        gate.play([sys.executable, "-c", WAITS, str(tmp_path)])
    stopper.join()

    assert (tmp_path / "tidied-up").exists()
    assert signal.getsignal(signal.SIGTERM) is usual
