"""A server to install from, and the agents that a test has left running below its directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.server import Server, build_agent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    build_agent()
    found = Server(tmp_path_factory.mktemp("server")).start()
    yield found
    found.stop()


@pytest.fixture
def host_directory(tmp_path: Path, server: Server) -> Iterator[Path]:
    """Where a test installs; whatever it started there ends with it."""
    from tests.install.test_script import run, script

    place = tmp_path / "a host"
    yield place
    if (place / "bin" / "guard.pid").exists():
        run(script(server), place, "--uninstall")
