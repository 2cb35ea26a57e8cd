"""Real agents under the real guard, and a server double that hands out releases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.update.machine import Machine, UpdateServer, Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def releases() -> Iterator[UpdateServer]:
    double = UpdateServer()
    yield double
    double.close()


@pytest.fixture
def machine(tmp_path: Path, releases: UpdateServer, workshop: Workshop) -> Iterator[Machine]:
    """An enrolled host with release 1, not started yet."""
    made = Machine(tmp_path / "host", releases, workshop).make()
    yield made
    made.close()
