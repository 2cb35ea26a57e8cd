"""RM_REQUIRE=all: CI cannot pass because something was skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SKIPPING = {
    "in the test": "import pytest\ndef test_it():\n    pytest.skip('no chromium here')\n",
    "by a mark": "import pytest\n@pytest.mark.skipif(True, reason='no chromium here')\ndef test_it():\n    pass\n",
    "as a module": "import pytest\npytest.skip('no chromium here', allow_module_level=True)\n",
}


def run(directory: Path, *, require: str) -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.require", "-p", "no:cacheprovider", str(directory)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RM_REQUIRE": require},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING.keys())
def test_a_required_test_that_is_skipped_fails_and_says_why(tmp_path: Path, source: str) -> None:
    (tmp_path / "test_skipping.py").write_text(source)

    done = run(tmp_path, require="all")

    assert done.returncode != 0
    assert "no chromium here" in done.stdout


def test_without_it_a_skip_stays_a_skip(tmp_path: Path) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING["in the test"] + "\ndef test_other():\n    pass\n")

    done = run(tmp_path, require="")

    assert done.returncode == 0
    assert "1 passed, 1 skipped" in done.stdout


def test_an_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    (tmp_path / "test_expected.py").write_text(
        "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it():\n    assert False\n"
    )

    assert run(tmp_path, require="all").returncode == 0


def test_any_other_word_is_refused(tmp_path: Path) -> None:
    assert "RM_REQUIRE" in run(tmp_path, require="some").stderr
