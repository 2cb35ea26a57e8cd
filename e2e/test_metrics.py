"""What a Prometheus would read."""

import pytest
import requests

from e2e.stages import METRICS_TOKEN, Stage

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_metrics_want_the_token(stage: Stage) -> None:
    assert requests.get(f"{stage.url}/metrics", timeout=60).status_code == 401


def test_metrics_tell_of_the_fleet_in_the_format_of_prometheus(stage: Stage) -> None:
    answer = requests.get(f"{stage.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=60)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = answer.text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    assert names
    assert all(name.startswith(("restic_manager_", "process_", "python_")) for name in names)
    assert "restic_manager_fleet_updates" in names
