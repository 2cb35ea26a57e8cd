"""The candidate is asked for itself, and believed only if it says what was ordered."""

import json
import time
from pathlib import Path

import pytest

from agent.update import candidate
from agent.update.candidate import Expected
from agent.update.ending import Failed

SHA256 = "a" * 64
WELL = {"ok": True, "release": {"version": "0.2.0", "seq": 2, "sha256": SHA256}, "checks": {"imports": "ok"}}


def ask(tmp_path: Path, program: str, *, own: dict[str, str] | None = None, seconds: float = 40) -> str:
    """Empty when the candidate is taken, otherwise the code."""
    path = tmp_path / "candidate"
    path.write_text(program)
    try:
        candidate.selftest(
            path, root=str(tmp_path), expected=Expected("0.2.0", 2, SHA256), own=lambda: own or {},
            wait=lambda seconds: None, seconds=seconds,
        )  # fmt: skip
    except Failed as error:
        assert error.phase == "selftest"
        return error.reason
    return ""


def says(facts: object) -> str:
    return f"print('a library talks')\nprint({json.dumps(json.dumps(facts))})"


def test_a_candidate_that_is_well_is_taken(tmp_path: Path) -> None:
    assert ask(tmp_path, says(WELL)) == ""


def test_it_is_asked_as_the_agent_would_be_run(tmp_path: Path) -> None:
    script = f"import sys, os\nassert sys.argv[1:] == ['--root', {str(tmp_path)!r}, 'selftest', '--json'], sys.argv\n"
    script += "assert sys.flags.isolated and os.getcwd() == '/' and 'NOTIFY_SOCKET' not in os.environ\n"

    assert ask(tmp_path, script + says(WELL)) == ""


@pytest.mark.parametrize("changed", [{"version": "0.3.0"}, {"seq": 3}, {"seq": "2"}, {"sha256": "b" * 64}])
def test_another_release_than_the_ordered_one_is_not_taken(tmp_path: Path, changed: dict[str, object]) -> None:
    other = WELL | {"release": WELL["release"] | changed}  # type: ignore[operator]

    assert ask(tmp_path, says(other)) == "selftest_wrong_release"


@pytest.mark.parametrize("program", ["", "import sys; sys.exit(1)", "1/0", "print('[]')", "print('{')", "syntax error"])
def test_a_candidate_that_does_not_answer_is_not_taken(tmp_path: Path, program: str) -> None:
    assert ask(tmp_path, program) == "selftest_crashed"


def test_a_candidate_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    began = time.monotonic()

    found = ask(tmp_path, "import subprocess\nsubprocess.run(['sleep', '600'])", seconds=0.5)

    assert found == "selftest_timeout"
    assert time.monotonic() - began < 45


@pytest.mark.parametrize(
    ("own", "expected"),
    [({"restic": "ok"}, "selftest_restic"), ({"restic": "not found"}, ""), ({}, "")],
)
def test_what_is_wrong_with_the_host_already_is_not_charged(tmp_path: Path, own: dict[str, str], expected: str) -> None:
    assert ask(tmp_path, says(WELL | {"checks": {"imports": "ok", "restic": "not found"}}), own=own) == expected


def test_a_fault_of_the_release_itself_is_always_charged(tmp_path: Path) -> None:
    assert ask(tmp_path, says(WELL | {"checks": {"imports": "no module x"}})) == "selftest_imports"
