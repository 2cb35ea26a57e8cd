"""The schedules' tests look every ten minutes, so a look ten minutes ago means that somebody was there."""

from datetime import timedelta

import pytest

from tests.agent.schedules.planned import EVENING
from tests.agent.schedules.world import World


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.schedules.waking.STALL_SECONDS", 700.0)


@pytest.fixture
def world() -> World:
    """A host in Berlin, on since the evening, whose jobs take ten minutes."""
    found = World(start=EVENING, zone="Europe/Berlin")
    found.jobs.lengths = lambda: timedelta(minutes=10)
    return found
