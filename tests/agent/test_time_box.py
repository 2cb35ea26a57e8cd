"""A job's time box: the agent ends it, also one that an agent before it had begun, and no lock remains."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.job import Job
from agent.job_directory import Begun, JobDirectory
from agent.platform import linux
from rm.shared import ids
from rm.shared.protocol import CommandRun
from tests.agent.conftest import Rig, until
from tests.restserver import tools

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(params=["installed", "newer"])
def program(request: pytest.FixtureRequest, rig: Rig) -> str:
    found = tools.program(request.param)
    rig.use(found)
    return found


def slow(rig: Rig, kind: str, limit: int) -> None:
    """The real restic, held back in jobs of that kind."""
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    held = f'exec {rig.program} "$@" --limit-upload {limit} --limit-download {limit}'
    path.write_text(f'#!/bin/sh\nif [ "$1" = {kind} ]; then {held}; fi\nexec {rig.program} "$@"\n')
    path.chmod(0o755)


def much(rig: Rig) -> None:
    (rig.base / "source" / "big").write_bytes(os.urandom(16 * 1024 * 1024))


@pytest.mark.restic
def test_a_check_is_ended_when_its_time_is_over_and_leaves_no_lock(rig: Rig, repository: Path, program: str) -> None:
    much(rig)
    rig.restic("backup", str(rig.base / "source"))
    slow(rig, "check", 64)
    rig.start()
    order = rig.order("check", parameters={"subset": "1/1"}, time_box_seconds=4)

    rig.server.connected().send(order)
    ended = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload

    assert (ended.outcome, ended.reason) == ("cancelled", "time_box")
    assert "time box of 4 seconds was over" in ended.message
    assert any("the time box is over: restic is asked to end" in line for line in rig.server.log(order.job_id))
    assert rig.locks() == []


@pytest.mark.restic
def test_a_restic_that_does_not_end_in_time_is_killed_and_its_lock_removed(
    rig: Rig, repository: Path, program: str
) -> None:
    much(rig)
    slow(rig, "backup", 512)
    rig.grace_seconds = 0.5
    agent = rig.start()
    order = rig.order(time_box_seconds=6)
    rig.server.connected().send(order)
    until(rig.locks)
    running = until(lambda: agent.jobs._journal.of(order.job_id).processes())
    os.kill(running.restic, signal.SIGSTOP)

    ended = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload

    assert (ended.outcome, ended.reason) == ("cancelled", "time_box")
    assert "Its lock was removed." in ended.message
    assert len(ended.summary["lock_proofs"]) == 1
    assert rig.locks() == []


@pytest.mark.restic
def test_the_time_box_runs_on_while_no_agent_is_there(rig: Rig, repository: Path, program: str) -> None:
    much(rig)
    slow(rig, "backup", 256)
    first = rig.spawn()
    order = rig.order(time_box_seconds=3600)
    rig.server.connected().send(order)
    until(rig.locks)
    first.kill()
    first.wait()
    directory = JobDirectory(rig.paths.jobs / order.job_id)
    begun = directory.begun()
    assert begun
    directory._write("begun.json", {"at": begun.at, "boot_id": begun.boot_id, "boot_seconds": -4000.0})

    rig.start()
    ended = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload

    assert (ended.outcome, ended.reason) == ("cancelled", "time_box")
    assert "time box of 1 hour" in ended.message
    assert rig.locks() == []


def test_a_job_that_ends_well_in_its_last_moment_keeps_its_success(rig: Rig) -> None:
    rig.fake_restic("[ $1 = prune ] || exit 1; trap 'echo done; exit 0' INT; while :; do sleep 0.05; done")
    rig.start()
    order = rig.order("prune", time_box_seconds=3)

    rig.server.connected().send(order)

    assert rig.server.wait_for("job.finished", job_id=order.job_id).payload.outcome == "succeeded"


def test_a_cancel_is_told_as_a_cancel_even_after_the_time_box(rig: Rig, tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path / ids.new_ulid())
    directory.path.mkdir()
    directory.end_time_box()
    directory.ask_cancel()

    assert (directory.is_to_end(), directory.cancel_asked(), directory.is_time_box_over()) == (True, True, True)


@pytest.mark.parametrize(("box", "grace", "ends_after"), [(3600, 10.0, 3580), (60, 10.0, 40), (14_400, 0.5, 14_389.5)])
def test_a_job_is_asked_to_end_early_enough_for_its_lock_to_be_free_when_the_box_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: int, grace: float, ends_after: float
) -> None:
    directory = JobDirectory(tmp_path / ids.new_ulid())
    directory.path.mkdir()
    order = CommandRun(job_id=ids.new_ulid(), kind="prune", time_box_seconds=box)
    job = Job(
        SimpleNamespace(grace_seconds=grace, outbox=SimpleNamespace(bookmark=lambda job_id: "")), directory, order
    )  # type: ignore[arg-type]

    monkeypatch.setattr(job, "elapsed", lambda: ends_after - 0.1)
    before = job.must_end()
    monkeypatch.setattr(job, "elapsed", lambda: ends_after + 0.1)

    assert (before, job.must_end()) == (False, True)


def test_elapsed_time_does_not_follow_a_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(at="2026-11-26T12:00:00Z", boot_id=linux.boot_id(), boot_seconds=linux.boot_seconds() - 100)
    before_the_boot = Begun(at="2026-11-26T12:00:00Z", boot_id="an earlier one", boot_seconds=9e9)
    monkeypatch.setattr("agent.clock.now", lambda: "2026-11-26T12:30:00.000000Z")

    assert 100 <= begun.elapsed() < 200
    assert before_the_boot.elapsed() == 1800
