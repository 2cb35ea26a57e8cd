"""Jobs whose restic says or does what the real one cannot be made to; and orders that repeat or come too late."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from agent.platform import linux
from rm.shared import ids
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished
from tests.agent.conftest import PASSWORD, Rig, until

SUMMARY = json.dumps({"message_type": "summary", "files_new": 1, "data_added": 5, "snapshot_id": "a" * 64})
LISTING = json.dumps([{"time": "2020-01-01T00:00:00Z", "id": "b" * 64, "hostname": "web1", "tags": ["documents"]}])


def finished(rig: Rig, order: CommandRun) -> JobFinished:
    rig.start()
    rig.server.connected().send(order)
    result: JobFinished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    rig.settled()
    return result


def test_a_missing_restic_fails_the_job_and_is_a_problem_in_hello(rig: Rig) -> None:
    config = rig.paths.config_file
    config.write_text(config.read_text() + f'restic = "{rig.base}/no-such-restic"\n')

    result = finished(rig, rig.order())

    hello = rig.server.all("hello")[0].payload
    assert (result.outcome, result.reason) == ("failed", "restic_missing")
    assert hello.restic_version is None
    assert "restic was not found" in hello.problems[0]


@pytest.mark.parametrize(
    ("code", "text", "outcome", "reason"),
    [
        (3, "", "warnings", "some_files_unreadable"),
        (10, "", "failed", "no_repository"),
        (11, "", "failed", "locked"),
        (12, "", "failed", "wrong_password"),
        (1, "Fatal: something odd", "failed", "restic_failed"),
        (1, "dial tcp 192.0.2.1:443: connect: connection refused", "failed", "unreachable"),
        (1, "write /repo/data: no space left on device", "failed", "disk_full"),
        (137, "", "failed", "restic_killed"),
    ],
)
def test_the_exit_code_decides_and_the_text_only_refines(
    rig: Rig, code: int, text: str, outcome: str, reason: str
) -> None:
    rig.fake_restic(f"echo '{SUMMARY}'; echo '{text}' >&2; exit {code}")

    result = finished(rig, rig.order())

    assert (result.outcome, result.reason, result.exit_code) == (outcome, reason, code)


def test_a_success_is_a_success_whatever_restic_wrote(rig: Rig) -> None:
    rig.fake_restic(f"echo 'Fatal: wrong password or no key found' >&2; echo '{SUMMARY}'")

    result = finished(rig, rig.order())

    assert (result.outcome, result.reason) == ("succeeded", "")
    assert result.message.startswith("Snapshot aaaaaaaa was saved")


def test_garbage_without_a_snapshot_is_no_backup_and_goes_to_the_log_as_it_is(rig: Rig) -> None:
    rig.fake_restic(
        "printf 'no json \\377\\n{\"message_type\": 7}\\n{broken\\n'; head -c 9000 /dev/zero | tr '\\0' z; echo"
    )
    order = rig.order()

    result = finished(rig, order)

    log = rig.server.log(order.job_id)
    assert (result.outcome, result.reason, result.exit_code) == ("failed", "restic_garbled", 0)
    assert "no json \\xff" in log
    assert "{broken" in log
    assert max(map(len, log)) == 4000


def test_a_listing_that_is_garbage_fails_the_snapshots_job(rig: Rig) -> None:
    rig.fake_restic("echo '[{\"id\": 3}, nonsense'")

    result = finished(rig, rig.order("snapshots"))

    assert (result.outcome, result.reason) == ("failed", "restic_garbled")


def test_a_killed_restic_is_told_from_a_failed_one(rig: Rig) -> None:
    rig.fake_restic("kill -KILL $$")

    result = finished(rig, rig.order())

    assert (result.outcome, result.reason) == ("failed", "restic_killed")
    assert "SIGKILL" in result.message


def test_a_restic_that_does_not_end_on_cancel_is_killed_with_its_children(rig: Rig) -> None:
    rig.fake_restic(
        "[ $1 = backup ] || exit 1; trap '' INT TERM; sleep 300 & echo $! > $TMPDIR/child; echo ready; wait; wait"
    )
    locks = Path(rig.location) / "locks"
    locks.mkdir(parents=True)
    (locks / "of-somebody").touch()
    rig.grace_seconds = 0.3
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: "ready" in s.log(order.job_id))
    child = int((rig.paths.temporary / "child").read_text())

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, agent.jobs.running) == ("cancelled", None) or until(lambda: agent.jobs.running is None)
    assert "restic unlock" in result.message
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


def test_a_cancel_after_the_end_does_not_change_the_outcome(rig: Rig) -> None:
    rig.fake_restic(f"echo '{SUMMARY}'")
    order = rig.order()
    first = finished(rig, order)

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    assert [m.payload for m in rig.server.all("job.finished")] == [first, first]


def test_a_job_that_ends_well_in_spite_of_a_cancel_has_succeeded(rig: Rig) -> None:
    rig.fake_restic(
        f"[ $1 = backup ] || exit 1; trap 'echo \"$S\"; exit 0' INT; S='{SUMMARY}'; echo ready;"
        " while :; do sleep 0.05; done"
    )
    rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait(lambda s: "ready" in s.log(order.job_id))

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))

    assert rig.server.wait_for("job.finished", job_id=order.job_id).payload.outcome == "succeeded"


def test_a_cancelled_job_that_the_agent_does_not_know_never_starts(rig: Rig) -> None:
    rig.fake_restic("touch $TMPDIR/started")
    rig.start()
    order = rig.order()

    rig.server.connected().send(CommandCancel(job_id=order.job_id))
    rig.server.wait_for("job.finished", job_id=order.job_id, outcome="cancelled")
    rig.settled()
    rig.server.connections[0].send(order)
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    assert {m.payload.outcome for m in rig.server.all("job.finished")} == {"cancelled"}
    assert not (rig.paths.temporary / "started").exists()


def test_a_waiting_job_is_cancelled_without_being_started(rig: Rig) -> None:
    rig.fake_restic(
        "[ $1 = backup ] || exit 1; echo run >> $TMPDIR/runs; while [ ! -e $TMPDIR/go ]; do sleep 0.05; done; exit 1"
    )
    rig.start()
    first, second = rig.order(), rig.order()
    connection = rig.server.connected()
    connection.send(first)
    connection.send(second)
    rig.server.wait_for("job.started", job_id=first.job_id)

    connection.send(CommandCancel(job_id=second.job_id))
    cancelled = rig.server.wait_for("job.finished", job_id=second.job_id).payload
    (rig.paths.temporary / "go").touch()
    rig.server.wait_for("job.finished", job_id=first.job_id)

    assert (cancelled.outcome, cancelled.started_at) == ("cancelled", None)
    assert (rig.paths.temporary / "runs").read_text() == "run\n"


def test_an_order_that_comes_again_is_reported_again_and_not_run_again(rig: Rig) -> None:
    rig.fake_restic(f"[ $1 = backup ] && echo run >> $TMPDIR/runs; echo '{SUMMARY}'")
    order = rig.order()
    first = finished(rig, order)

    rig.server.connections[0].send(order)
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)
    rig.settled()
    rig.stop()
    rig.start()
    rig.server.connected(2).send(order)
    rig.server.wait(lambda s: len(s.all("job.finished")) == 3)

    assert all(m.payload == first for m in rig.server.all("job.finished"))
    assert (rig.paths.temporary / "runs").read_text() == "run\n"


def test_an_order_that_comes_again_while_it_runs_is_told_as_started(rig: Rig) -> None:
    rig.fake_restic("[ $1 = backup ] || exit 1; while [ ! -e $TMPDIR/go ]; do sleep 0.05; done; exit 1")
    rig.start()
    order = rig.order()
    connection = rig.server.connected()
    connection.send(order)
    first = rig.server.wait_for("job.started").payload

    connection.send(order)
    rig.server.wait(lambda s: len(s.all("job.started")) == 2)
    (rig.paths.temporary / "go").touch()
    rig.server.wait_for("job.finished")

    assert rig.server.all("job.started")[1].payload == first


def test_a_started_job_that_the_agent_does_not_know_is_lost(rig: Rig) -> None:
    result = finished(rig, rig.order(already_started=True))

    assert (result.outcome, result.reason) == ("lost", "unknown_to_agent")


def test_kinds_of_a_later_release_and_unknown_repositories_fail_with_a_reason(rig: Rig) -> None:
    rig.start()
    connection = rig.server.connected()
    orders = {"unsupported": rig.order("update"), "not_configured": rig.order(repository_id="other")}

    for order in orders.values():
        connection.send(order)

    for reason, order in orders.items():
        result = rig.server.wait_for("job.finished", job_id=order.job_id).payload
        assert (result.outcome, result.reason) == ("failed", reason)


def test_jobs_run_one_after_the_other(rig: Rig) -> None:
    rig.fake_restic(
        "[ $1 = backup ] || exit 1; mkdir $TMPDIR/alone || echo overlap >> $TMPDIR/runs; sleep 0.1;"
        " rmdir $TMPDIR/alone; echo run >> $TMPDIR/runs"
    )
    rig.start()
    orders = [rig.order() for _ in range(4)]

    for order in orders:
        rig.server.connected().send(order)
    for order in orders:
        rig.server.wait_for("job.finished", job_id=order.job_id)

    assert (rig.paths.temporary / "runs").read_text() == "run\n" * 4


def test_a_secrets_file_that_breaks_while_the_agent_runs_fails_jobs_and_is_not_touched(rig: Rig) -> None:
    rig.start()
    rig.server.connected()
    rig.paths.secrets_file.write_bytes(b'{"format": 1, "cred')
    order = rig.order()

    rig.server.connections[0].send(order)
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("failed", "secrets_corrupt")
    assert rig.paths.secrets_file.read_bytes() == b'{"format": 1, "cred'


def test_secrets_that_restic_prints_are_hidden(rig: Rig) -> None:
    rig.location, rig.secret, rig.username = "rest:http://127.0.0.1:1/r", "p@ss/w%rd", "me"
    rig.enrol()
    rig.fake_restic('echo "$RESTIC_PASSWORD $RESTIC_REPOSITORY"; echo "$RESTIC_REPOSITORY" >&2; exit 1')
    order = rig.order()

    result = finished(rig, order)

    told = str([m.payload for m in rig.server.received])
    assert "rest:http://me:***@127.0.0.1:1/r" in told
    assert result.outcome == "failed"
    assert not any(secret in told for secret in (PASSWORD, "p@ss/w%rd", "p%40ss"))


def test_restic_gets_a_closed_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RM_TOKEN", "leaked")
    monkeypatch.setenv("LD_PRELOAD_TEST", "leaked")
    rig.fake_restic("env | cut -d= -f1 | sort > $TMPDIR/names; exit 1")

    finished(rig, rig.order())

    names = set((rig.paths.temporary / "names").read_text().split()) - {"PWD", "OLDPWD", "_", "SHLVL"}
    assert names == {
        "PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "RESTIC_CACHE_DIR", "RESTIC_PROGRESS_FPS",
        "RESTIC_PASSWORD", "RESTIC_REPOSITORY",
    }  # fmt: skip


def test_a_full_disk_under_the_job_directory_fails_the_job_and_not_the_agent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    rig.start()
    connection = rig.server.connected()
    monkeypatch.setattr("agent.durable.write", refuse)
    order = rig.order()

    connection.send(order)
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    monkeypatch.undo()
    rig.settled()
    connection.send(order)
    rig.server.wait(lambda s: len(s.all("job.finished")) == 2)

    assert (result.outcome, result.reason) == ("failed", "disk_full")
    assert rig.server.all("job.finished")[1].payload == result


def test_progress_comes_at_once_and_carries_speed_and_time_left(rig: Rig) -> None:
    def status(done: int) -> str:
        sizes = {"total_bytes": 10_000_000, "bytes_done": done * 1_000_000, "total_files": 3, "files_done": 1}
        return json.dumps(
            {"message_type": "status", "percent_done": done / 10, "current_files": ["/a/no space left on device"]}
            | sizes
        )

    rig.fake_restic(
        f"[ $1 = backup ] || exit 1; echo '{status(1)}'; while [ ! -e $TMPDIR/on ]; do sleep 0.05; done;"
        f" sleep 1.3; echo '{status(5)}'; while [ ! -e $TMPDIR/go ]; do sleep 0.05; done; exit 1"
    )
    rig.start()
    order = rig.order()
    began = time.monotonic()
    rig.server.connected().send(order)

    rig.server.wait_for("job.progress")
    (rig.paths.temporary / "on").touch()
    rig.server.wait(lambda s: len(s.all("job.progress")) == 2)
    took = time.monotonic() - began
    (rig.paths.temporary / "go").touch()
    rig.server.wait_for("job.finished")

    first, second = (m.payload for m in rig.server.all("job.progress"))
    assert (first.percent, first.bytes_per_second, first.files_total) == (10.0, None, 3)
    assert second.percent == 50.0
    # Four megabytes in at least the time of the sleep, and at most that in which all of it happened.
    assert 4_000_000 / took < second.bytes_per_second < 4_000_000 / 1.2
    assert second.seconds_left == pytest.approx(5_000_000 / second.bytes_per_second, abs=0.1)
    assert not any("message_type" in line for line in rig.server.log(order.job_id))
    assert rig.server.all("job.finished")[0].payload.reason == "restic_failed"


def test_a_wrapper_that_is_killed_makes_the_job_interrupted(rig: Rig) -> None:
    rig.fake_restic("[ $1 = backup ] || exit 1; while [ ! -e $TMPDIR/go ]; do sleep 0.05; done")
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.started")
    running = until(lambda: agent.jobs._journal.of(order.job_id).processes())

    os.kill(running.wrapper, signal.SIGKILL)
    (rig.paths.temporary / "go").touch()
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("failed", "interrupted")


def test_an_agent_that_fails_on_a_job_ends_restic_before_the_next(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.fake_restic("[ $1 = backup ] || exit 1; echo ready; while [ ! -e $TMPDIR/go ]; do sleep 0.05; done")
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    running = until(lambda: agent.jobs._journal.of(order.job_id).processes())

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("agent.following.Follower._take_in", fail)
    result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason) == ("failed", "agent_error")
    assert linux.start_time(running.restic) != running.restic_started


def test_the_last_200_results_are_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.journal.KEEP_FINISHED", 3)
    rig.start()
    connection = rig.server.connected()
    orders = [rig.order("prune") for _ in range(6)]

    for order in orders:
        connection.send(order)
    rig.server.wait_for("job.finished", job_id=orders[-1].job_id)
    rig.stop()

    kept = {path.name for path in rig.paths.jobs.iterdir()}
    assert kept == {order.job_id for order in orders[-3:]}
    assert ids.is_ulid(orders[0].job_id)
