"""What changed between two snapshots, with real restics."""

import json
import os
from pathlib import Path

import pytest

from agent import diffing
from rm.shared.protocol import CommandRun, JobFinished
from tests.agent.conftest import Rig
from tests.restserver import tools

pytestmark = [pytest.mark.restic, pytest.mark.timeout(150)]

GONE = "f" * 64


@pytest.fixture(params=["installed", "newer"], autouse=True)
def program(request: pytest.FixtureRequest, rig: Rig) -> None:
    rig.use(tools.program(request.param))


@pytest.fixture(autouse=True)
def made_repository(repository: Path) -> Path:
    return repository


def snapshot(rig: Rig) -> str:
    done = rig.restic("backup", "--json", str(rig.base / "source"))
    return str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])


def run(rig: Rig, first: str, second: str) -> tuple[CommandRun, JobFinished]:
    """The order, and what the agent reports of it."""
    if rig.agent is None:
        rig.start()
    order = rig.order("diff", parameters={"snapshot_a": first, "snapshot_b": second})
    rig.server.connected().send(order)
    return order, rig.server.wait_for("job.finished", seconds=90, job_id=order.job_id).payload


def test_changes_are_lines_and_figures_the_summary(rig: Rig) -> None:
    source = rig.base / "source"
    (source / "goes").write_text("x" * 5000)
    before = snapshot(rig)
    (source / "goes").unlink()
    (source / "letter.txt").write_text("dear reader, once more")
    (source / "new\nline").write_bytes(os.urandom(100_000))
    (source / "folder").mkdir()
    after = snapshot(rig)

    order, finished = run(rig, before, after)

    log = rig.server.log(order.job_id)
    assert (finished.outcome, finished.exit_code) == ("succeeded", 0), finished
    assert [line for line in log if line.startswith("M ")] == [f"M    {source}/letter.txt"]
    assert [line for line in log if line.startswith("- ")] == [f"-    {source}/goes"]
    assert f'+    "{source}/new\\nline"' in log and f"+    {source}/folder/" in log
    figures = {name: finished.summary[name] for name in ("files_new", "files_removed", "files_changed", "dirs_new")}
    assert figures == {"files_new": 1, "files_removed": 1, "files_changed": 1, "dirs_new": 1}
    assert finished.summary["added_bytes"] > 100_000 and finished.summary["removed_bytes"] > 5000
    assert "1 file new, 1 removed, 1 changed" in finished.message
    assert rig.locks() == []


def test_a_log_of_very_many_changes_is_cut_and_the_figures_count_all(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffing, "MAX_LINES", 30)
    before = snapshot(rig)
    for number in range(100):
        (rig.base / "source" / f"{number}").write_text("x")
    after = snapshot(rig)

    order, finished = run(rig, before, after)

    log = rig.server.log(order.job_id)
    assert finished.summary["files_new"] == 100
    assert len(log) <= 33 and log.count(diffing.CUT) == 1
    assert 20 < len([line for line in log if line.startswith("+ ")]) <= 30


def test_a_snapshot_that_is_gone_and_an_id_that_is_none_are_told(rig: Rig) -> None:
    made = snapshot(rig)

    _, gone = run(rig, made, GONE)
    _, nonsense = run(rig, "latest", made)

    assert (gone.outcome, gone.reason) == ("failed", "snapshot_gone"), gone
    assert (nonsense.outcome, nonsense.reason) == ("failed", "bad_request")


def test_two_equal_snapshots_differ_in_nothing(rig: Rig) -> None:
    first, second = snapshot(rig), snapshot(rig)

    _, finished = run(rig, first, second)

    assert finished.outcome == "succeeded"
    assert finished.message.startswith("0 files new, 0 removed, 0 changed;")
