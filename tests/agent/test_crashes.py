"""kill -9 between any two steps of a job: the files alone lead to exactly one true outcome."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import clock, restic, runner
from agent.job_directory import Intent, JobDirectory
from agent.journal import Journal
from agent.platform import linux
from rm.shared import ids
from rm.shared.protocol import CommandRun, JobFinished
from tests.agent.conftest import Rig, until

SUMMARY = json.dumps({"message_type": "summary", "files_new": 1, "data_added": 5, "snapshot_id": "a" * 64})
COUNTING = f"[ $1 = backup ] && echo run >> $TMPDIR/runs; echo '{SUMMARY}'"


@pytest.fixture
def order(rig: Rig) -> CommandRun:
    rig.fake_restic(COUNTING)
    return rig.order()


@pytest.fixture
def directory(rig: Rig, order: CommandRun) -> Iterator[JobDirectory]:
    found = Journal(rig.paths.jobs).of(order.job_id)
    found.accept(order, at=clock.now())
    yield found


def intent(boot_id: str | None = None) -> Intent:
    return Intent(started_at=clock.now(), command="restic backup", boot_id=boot_id or linux.boot_id())


def test_an_agent_from_before_can_read_what_was_about_to_be_started(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path)
    made = Intent(started_at=clock.now(), command="restic backup", boot_id="b", launched_at=clock.now(), out_from=7)

    directory.intend(made)

    assert set(json.loads((tmp_path / "intent.json").read_bytes())) == {"started_at", "command", "boot_id", "missing"}
    assert directory.intent() == made


def test_what_a_later_agent_has_noted_besides_does_not_hide_the_intent(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path)
    directory.intend(intent())
    raw = json.loads((tmp_path / "intent.json").read_bytes())
    (tmp_path / "intent.json").write_text(json.dumps(raw | {"of_tomorrow": 1}))

    assert directory.intent() == intent_of(raw)


def intent_of(raw: dict[str, object]) -> Intent:
    return Intent(started_at=str(raw["started_at"]), command=str(raw["command"]), boot_id=str(raw["boot_id"]))


def test_a_clock_that_was_set_back_has_no_new_result_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.journal.KEEP_FINISHED", 2)
    journal = Journal(tmp_path)
    made = [ids.new_ulid() for _ in range(3)]
    for job_id in made:
        journal.finish(JobFinished(job_id=job_id, outcome="succeeded", finished_at=clock.now()))
        journal.of(job_id).reported()
    for job_id in made[:2]:
        os.utime(tmp_path / job_id / "result.json", (2e9, 2e9))

    journal.prune()

    assert journal.result(made[2]) is not None
    assert len(journal.directories()) == 2


def launch(rig: Rig, directory: JobDirectory, order: CommandRun) -> runner.Running:
    """Start restic as the agent does, as if it died right after."""
    environment = {"PATH": restic.PATH, "TMPDIR": str(rig.paths.temporary), "RESTIC_PASSWORD": "x"}
    return runner.start(
        directory,
        program=str(rig.base / "bin" / "restic"),
        arguments=["backup"],
        environment=environment,
        intent=intent(),
    )


def runs(rig: Rig) -> int:
    path = rig.paths.temporary / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def outcome(rig: Rig, order: CommandRun) -> JobFinished:
    """The outcome after a restart, which must be the only one, also when the order comes again."""
    rig.start()
    result: JobFinished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    rig.settled()
    rig.server.connections[0].send(order)
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)
    assert rig.server.all("job.finished")[1].payload == result
    return result


def test_before_the_order_was_written_the_job_is_unknown_and_runs_when_it_comes_again(
    rig: Rig, order: CommandRun
) -> None:
    (rig.paths.jobs / order.job_id).mkdir()
    rig.start()

    rig.server.connected().send(order)

    assert rig.server.wait_for("job.finished").payload.outcome == "succeeded"
    assert runs(rig) == 1


def test_after_the_order_was_written_the_job_runs_once(rig: Rig, order: CommandRun, directory: JobDirectory) -> None:
    assert outcome(rig, order).outcome == "succeeded"
    assert runs(rig) == 1


def test_after_the_intent_and_before_the_start_the_job_is_interrupted_and_never_started(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    directory.intend(intent())

    result = outcome(rig, order)

    assert (result.outcome, result.reason, runs(rig)) == ("failed", "interrupted", 0)


def test_a_wrapper_that_comes_too_late_finds_the_start_forbidden(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    directory.intend(intent())
    assert directory.claim()

    late = launch(rig, directory, order)

    until(lambda: not late.is_alive())
    assert runs(rig) == 0


def test_after_the_claim_and_before_the_pid_the_outcome_waits_for_the_wrapper(
    rig: Rig, order: CommandRun, directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.intend(intent())
    assert directory.claim()
    monkeypatch.setattr("agent.execution.CLAIM_SECONDS", 0.2)

    result = outcome(rig, order)

    assert (result.outcome, result.reason, runs(rig)) == ("failed", "interrupted", 0)


def test_a_restic_that_ended_while_no_agent_was_there_is_told_truly(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    directory.intend(intent())
    started = launch(rig, directory, order)
    until(lambda: started.exit_code() is not None)

    result = outcome(rig, order)

    assert (result.outcome, result.exit_code, runs(rig)) == ("succeeded", 0, 1)
    assert any("Snapshot aaaa" in line for line in rig.server.log(order.job_id))


def test_a_power_cut_while_restic_ran_is_an_interrupted_job(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    directory.intend(intent(boot_id="an earlier boot"))
    (directory.path / "claim").mkdir()
    (directory.path / "pid").write_text(f"{os.getpid()} 1 {os.getpid()} 1\n")

    result = outcome(rig, order)

    assert (result.outcome, result.reason) == ("failed", "interrupted")


def test_a_pid_that_belongs_to_another_process_by_now_is_not_taken_for_restic(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    directory.intend(intent())
    (directory.path / "claim").mkdir()
    (directory.path / "pid").write_text(f"{os.getpid()} 1 {os.getpid()} 1\n")

    assert outcome(rig, order).reason == "interrupted"


def test_after_the_result_was_written_and_before_it_was_reported_it_is_reported(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    result = JobFinished(job_id=order.job_id, outcome="warnings", reason="some_files_unreadable", exit_code=3)
    directory.finish(result)

    assert outcome(rig, order) == result
    assert (runs(rig), os.listdir(directory.path)) != (1, [])


def test_a_cancel_that_was_written_before_the_crash_still_counts(
    rig: Rig, order: CommandRun, directory: JobDirectory
) -> None:
    hears = rig.base / "hears"
    rig.fake_restic(f"[ $1 = backup ] || exit 1; trap 'exit 130' INT; touch {hears}; while :; do sleep 0.05; done")
    directory.intend(intent())
    started = launch(rig, directory, order)
    until(hears.exists)
    directory.ask_cancel()

    result = outcome(rig, order)

    assert (result.outcome, result.exit_code) == ("cancelled", 130)
    assert not started.is_alive()


def test_a_damaged_outbox_is_filled_again_from_the_journal(rig: Rig, order: CommandRun) -> None:
    rig.start()
    rig.server.acks = lambda message: False
    rig.server.connected().send(order)
    first = rig.server.wait_for("job.finished").payload
    rig.stop()
    rig.server.acks = lambda message: True
    for suffix in ("-wal", "-shm"):
        Path(f"{rig.paths.outbox_file}{suffix}").unlink(missing_ok=True)
    rig.paths.outbox_file.write_bytes(b"no database" * 1000)

    rig.start()
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    assert rig.server.all("job.finished")[1].payload == first
    assert "was damaged" in rig.server.all("hello")[1].payload.problems[0]


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5, 8])
def test_the_log_goes_on_without_a_gap_or_a_repeated_line_wherever_the_agent_died(rig: Rig, cut: int) -> None:
    rig.fake_restic(
        '[ $1 = backup ] || exit 1; i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo "line $i"; sleep 0.04; done;'
        f" echo '{SUMMARY}'"
    )
    order = rig.order()
    child = rig.spawn()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: s.all("job.started") if cut == 0 else f"line {cut}" in s.log(order.job_id))
    child.kill()
    child.wait()

    rig.start()
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    log = rig.server.log(order.job_id)
    numbers = sorted({line.n for m in rig.server.all("job.log") for line in m.payload.lines})
    if result.outcome == "succeeded":
        assert [text for text in log if text.startswith("line ")] == [f"line {i}" for i in range(1, 13)]
    else:
        assert (cut, result.reason) == (0, "interrupted")
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.root
def test_the_exit_code_is_noted_on_a_full_disk(
    rig: Rig, order: CommandRun, directory: JobDirectory, tmp_path: Path
) -> None:
    """A tmpfs without one free block: noting the code is a rename and needs none."""
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a tmpfs")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    try:
        jobs = Journal(small)
        there = jobs.of(order.job_id)
        there.accept(order, at=clock.now())
        there.intend(intent())
        rig.fake_restic("cat /dev/zero; exit 3")
        started = launch(rig, there, order)
        until(lambda: started.exit_code() is not None)

        assert there.exit_code() == 3
        assert started.exit_code() == 3
    finally:
        until(lambda: not started.is_alive())
        subprocess.run(["umount", str(small)], check=False)
