"""What a Prometheus reads at the end of the story; by its name it runs after it."""

import re
import shutil
import subprocess

import pytest
import requests

from e2e.stages import METRICS_TOKEN, ROOT, Stage

pytestmark = [pytest.mark.root, pytest.mark.timeout(600, func_only=True)]


@pytest.fixture(scope="module")
def scraped(stage: Stage) -> str:
    answer = requests.get(f"{stage.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.text


def value(scraped: str, name: str, **labels: str) -> float:
    """The sum of the lines of a figure that have these labels among theirs."""
    total = 0.0
    for line in scraped.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name:
            own = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            total += float(found[3]) if labels.items() <= own.items() else 0
    return total


def test_metrics_want_the_token(stage: Stage) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert requests.get(f"{stage.url}/metrics", headers=headers, timeout=60).status_code == 401


def test_prometheus_own_tool_reads_them_and_finds_nothing_wrong(scraped: str) -> None:
    found = shutil.which("promtool")
    if found is None:
        command = [str(ROOT / "scripts" / "unpacked"), "--where", "prometheus", "usr/bin/promtool"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not found:
        pytest.skip("needs promtool: scripts/system-packages promtool")

    done = subprocess.run(
        [found, "check", "metrics"], input=scraped, capture_output=True, text=True, check=False, timeout=120
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_they_tell_what_the_operator_did(scraped: str) -> None:
    def of(name: str, **labels: str) -> float:
        return value(scraped, f"restic_manager_{name}", **labels)

    assert of("hosts", status="online") == 2
    assert of("agents", version="1.4.0") == 2
    assert of("pending_hosts") == 0
    assert of("jobs_total", kind="backup", outcome="succeeded") >= 2
    assert of("jobs_total", kind="restore", outcome="succeeded") == 1
    assert of("fleet_updates", state="completed") == 2
    assert of("fleet_updates", state="cancelled") == 1
