"""Restores that are cancelled, and agents that stop or die during one; how far it is."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.lines import OutOfTime
from agent.verification import Verification
from rm.shared.protocol import CommandCancel
from tests.agent.conftest import Rig, until
from tests.agent.restoring.ordering import JOB_SECONDS, big, held_back, order, run, run_again, snapshot

pytestmark = [pytest.mark.restic, pytest.mark.timeout(500)]


def test_progress_is_shown_and_a_cancel_ends_restic_and_says_what_is_left(rig: Rig) -> None:
    big(rig, 48)
    made = snapshot(rig)
    held_back(rig, 'exec $REAL "$@" --limit-download 2048')
    rig.start()
    ordered = order(rig, made)
    rig.server.connected().send(ordered)
    rig.server.wait(
        lambda s: any((m.payload.percent or 0) > 0 for m in s.all("job.progress", job_id=ordered.job_id)), 90
    )

    rig.server.connections[0].send(CommandCancel(job_id=ordered.job_id))
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload

    shown = rig.server.all("job.progress", job_id=ordered.job_id)[-1].payload
    assert (finished.outcome, finished.reason) == ("cancelled", "cancelled")
    assert str(rig.paths.restore / ordered.job_id) in finished.message
    assert 0 < shown.percent < 100 and shown.bytes_total >= 48 * 1024 * 1024
    assert rig.locks() == []


def test_kill_9_of_the_agent_during_a_restore_ends_in_one_checked_outcome(rig: Rig) -> None:
    big(rig, 48)
    made = snapshot(rig)
    held_back(rig, 'exec $REAL "$@" --limit-download 2048')
    first = rig.spawn()
    ordered = order(rig, made)
    rig.server.connected().send(ordered)
    rig.server.wait(
        lambda s: any((m.payload.percent or 0) > 0 for m in s.all("job.progress", job_id=ordered.job_id)), 90
    )
    first.kill()
    first.wait()

    second = rig.spawn()
    rig.server.connected(2).send(ordered)
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload
    second.send_signal(signal.SIGTERM)

    assert second.wait(60) == 0
    assert (finished.outcome, finished.summary["mismatches"], finished.summary["checked_files"]) == ("succeeded", 0, 2)
    assert len(rig.server.all("job.finished")) == 1
    back = Path(f"{finished.summary['target']}{rig.base}/source/big")
    assert back.read_bytes() == (rig.base / "source" / "big").read_bytes()


def test_an_agent_that_dies_before_restic_starts_begins_anew(rig: Rig) -> None:
    made = snapshot(rig)
    ordered = order(rig, made)
    # As the agent leaves it when it dies between making the target and writing down that it starts.
    (rig.paths.restore / ordered.job_id).mkdir(parents=True, mode=0o700)

    finished = run(rig, ordered)

    assert finished.outcome == "succeeded", finished


def test_the_agent_that_stops_during_the_look_begins_anew_at_its_next_start(rig: Rig) -> None:
    made = snapshot(rig)
    flag = rig.base / "looking"
    real = rig.program
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = ls ] && [ ! -e {flag} ]; then touch {flag}; exec sleep 600; fi\nexec {real} "$@"\n'
    )
    path.chmod(0o755)
    rig.start()
    ordered = order(rig, made)
    rig.server.connected().send(ordered)
    until(flag.exists)
    rig.stop()

    finished = run_again(rig, ordered)

    assert finished.outcome == "succeeded", finished


def test_the_job_counts_as_started_with_its_command_while_the_selection_is_looked_up(rig: Rig) -> None:
    made = snapshot(rig)
    flag = rig.base / "looking"
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\nif [ "$1" = ls ]; then touch {flag}; exec sleep 600; fi\nexec {rig.program} "$@"\n')
    path.chmod(0o755)
    rig.start()
    ordered = order(rig, made)
    rig.server.connected().send(ordered)

    started = rig.server.wait_for("job.started", job_id=ordered.job_id).payload
    until(flag.exists)
    rig.server.connections[0].send(CommandCancel(job_id=ordered.job_id))
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload

    assert started.command.startswith(f"restic restore {made} --target={rig.paths.restore}/{ordered.job_id}")
    assert (finished.outcome, finished.reason) == ("cancelled", "cancelled")
    assert not rig.paths.restore.exists()


def test_an_agent_that_stops_during_the_check_checks_at_its_next_start(rig: Rig) -> None:
    made = snapshot(rig)
    restored, flag = rig.base / "restored", rig.base / "checking"
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = restore ]; then touch {restored}; fi\n'
        f'if [ "$1" = ls ] && [ -e {restored} ] && [ ! -e {flag} ]; then touch {flag}; exec sleep 600; fi\n'
        f'exec {rig.program} "$@"\n'
    )
    path.chmod(0o755)
    rig.start()
    ordered = order(rig, made)
    rig.server.connected().send(ordered)
    until(flag.exists, seconds=90)
    rig.stop()

    finished = run_again(rig, ordered)

    assert (finished.outcome, finished.summary["checked_files"]) == ("succeeded", 1), finished
    assert len([line for line in rig.server.log(ordered.job_id) if line.startswith("$ restic restore")]) == 1


def test_a_cancel_ends_the_check_of_what_was_restored_and_the_files_stay(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking = threading.Event()

    def endless(self: Verification, is_over: Callable[[], bool], tell: object) -> None:
        checking.set()
        until(is_over, 60)
        raise OutOfTime

    monkeypatch.setattr("agent.verification.Verification.run", endless)
    rig.start()
    ordered = order(rig, snapshot(rig))
    rig.server.connected().send(ordered)
    assert checking.wait(60)

    rig.server.connected().send(CommandCancel(job_id=ordered.job_id))
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload

    assert (finished.outcome, finished.reason) == ("warnings", "not_verified")
    assert "they were not checked" in finished.message
    assert (Path(f"{finished.summary['target']}{rig.base}/source") / "letter.txt").exists()
