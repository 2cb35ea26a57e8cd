"""Each restore is tried with the restic of the system and with the newest, from one repository."""

from pathlib import Path

import pytest

from tests.agent.conftest import Rig
from tests.restserver import tools


@pytest.fixture(params=["installed", "newer"], autouse=True)
def program(request: pytest.FixtureRequest, rig: Rig) -> str:
    found = tools.program(request.param)
    rig.use(found)
    return str(request.param)


@pytest.fixture(autouse=True)
def made_repository(repository: Path) -> Path:
    return repository
