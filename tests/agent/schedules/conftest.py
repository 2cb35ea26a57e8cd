"""The schedules' tests look every ten minutes, so a look ten minutes ago means that somebody was there."""

import pytest


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.schedules.waking.STALL_SECONDS", 700.0)
