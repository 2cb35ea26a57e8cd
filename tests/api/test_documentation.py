"""What docs/reference/api.md says is run: its commands with curl, its table of limits against the code."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rm.services import api_tokens, idempotency
from tests.api.test_schemathesis import prepared
from tests.process.conftest import Server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


@pytest.fixture(autouse=True)
def as_declared() -> None:
    """Nothing of this process is looked at here."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, str]]:
    token, ids = prepared(tmp_path / "data")
    server = Server(tmp_path / "data", RM_BASE_URL="http://localhost")
    server.wait_for_line("serving on")
    yield {"RM_API_TOKEN": token, "RM": server.url, "HOST": ids["host_id"]}
    server.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_of_the_page_work(served: dict[str, str]) -> None:
    commands = re.findall(r"^\$ (curl (?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)

    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command.replace("curl ", "curl -sS --fail-with-body --retry 5 --retry-connrefused ", 1)],
            env={"PATH": "/usr/bin:/bin"} | served, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    assert len(commands) == 4


def test_the_limits_that_the_page_names_are_those_of_the_code() -> None:
    text = PAGE.read_text()

    assert f"ends after {api_tokens.DEFAULT_DAYS} days" in text
    assert f"at most {idempotency.MAX_KEY} printable characters" in text
    assert f"{idempotency.MAX_KEPT:,} of each" in text
    assert idempotency.KEPT_FOR.total_seconds() == 24 * 3600
