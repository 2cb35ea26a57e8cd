"""Jobs with the real restic, from the order to the report."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from agent.platform import linux
from rm.shared import ids
from rm.shared.protocol import CommandBrowse, CommandCancel, SourceGroupSpec
from tests.agent.conftest import PASSWORD, Rig, until
from tests.restserver import tools

pytestmark = [
    pytest.mark.restic,
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
]


@pytest.fixture(params=["installed", "newer"], autouse=True)
def program(request: pytest.FixtureRequest, rig: Rig) -> None:
    """Each test runs with the restic of this system and with that of a later one."""
    rig.use(tools.program(request.param))


def big_source(rig: Rig, mib: int) -> None:
    with open(rig.base / "source" / "big", "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1024 * 1024))


def slow_restic(rig: Rig) -> None:
    """The real restic, held back to 8 MiB/s, so that it is still at work when the test acts."""
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    slow = f'exec {rig.program} "$@" --limit-upload 8192 --pack-size 4'
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\nif [ "$1" = backup ]; then {slow}; fi\nexec {rig.program} "$@"\n')
    path.chmod(0o755)


def test_a_repository_is_created_and_creating_it_again_succeeds(rig: Rig) -> None:
    rig.start()
    first, second = rig.order("init"), rig.order("init")

    rig.server.connected().send(first)
    created = rig.server.wait_for("job.finished", job_id=first.job_id).payload
    rig.server.connections[0].send(second)
    again = rig.server.wait_for("job.finished", job_id=second.job_id).payload

    assert (created.outcome, created.exit_code, created.message) == ("succeeded", 0, "The repository was created.")
    assert (again.outcome, again.reason) == ("succeeded", "")
    assert "existed already" in again.message


def test_a_backup_reports_start_log_snapshots_and_end_in_this_order(rig: Rig, repository: Path) -> None:
    rig.start()
    order = rig.order()

    rig.server.connected().send(order)
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    kinds = [m.type for m in rig.server.received if m.type not in ("hello", "heartbeat", "job.progress")]
    # The size of the repository may come after the end.
    kinds = kinds[: kinds.index("job.finished") + 1]
    assert kinds[0] == "job.started"
    assert kinds.index("job.log") < kinds.index("snapshots.report") < kinds.index("repository.stats")
    listed = rig.server.all("snapshots.report")[0].payload
    assert (finished.outcome, finished.exit_code, finished.summary["files_new"]) == ("succeeded", 0, 1)
    assert [item.id for item in listed.items] == [finished.summary["snapshot_id"]]
    assert (listed.items[0].tags, listed.items[0].hostname) == (["documents"], "web1")
    log = rig.server.log(order.job_id)
    assert log[0].startswith("$ restic backup --json --tag documents --host web1")
    assert any(line.startswith("Files: 1 new") for line in log)


def test_names_with_line_breaks_dashes_and_bytes_that_are_no_text_are_backed_up(rig: Rig, repository: Path) -> None:
    odd = os.fsencode(rig.base / "source")
    names = [b"new\nline", b"-rf", b"caf\xe9", b" blank ", b'quote"$HOME']
    for name in names:
        Path(os.fsdecode(odd + b"/" + name)).write_bytes(name)
    (rig.base / "-odd\ndirectory").mkdir()
    (rig.base / "-odd\ndirectory" / "f").write_text("in an odd place")
    (rig.base / "source" / "$HOME").write_text("excluded by its true name")
    rig.start()
    order = rig.order(
        includes=[str(rig.base / "source"), str(rig.base / "-odd\ndirectory")],
        excludes=[str(rig.base / "source/$HOME")],
    )

    rig.server.connected().send(order)
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    restored = rig.restic("restore", finished.summary["snapshot_id"], "--target", str(rig.base / "back"))

    assert (finished.outcome, restored.returncode) == ("succeeded", 0), finished
    back = os.fsencode(rig.base / "back") + odd
    assert sorted(os.listdir(back)) == sorted([*names, b"letter.txt"])
    assert all(Path(os.fsdecode(back + b"/" + name)).read_bytes() == name for name in names)
    assert Path(f"{rig.base}/back{rig.base}/-odd\ndirectory/f").read_text() == "in an odd place"


def test_a_missing_include_is_a_warning_and_all_missing_is_a_failure(rig: Rig, repository: Path) -> None:
    rig.start()
    some = rig.order(includes=[str(rig.base / "source"), str(rig.base / "nowhere")])
    none = rig.order(includes=[str(rig.base / "nowhere")])

    rig.server.connected().send(some)
    rig.server.connections[0].send(none)
    partly = rig.server.wait_for("job.finished", job_id=some.job_id).payload
    wholly = rig.server.wait_for("job.finished", job_id=none.job_id).payload

    assert (partly.outcome, partly.reason, partly.exit_code in (0, 3)) == ("warnings", "source_missing", True)
    assert str(rig.base / "nowhere") in partly.message
    assert (wholly.outcome, wholly.reason) == ("failed", "source_missing")


def test_a_wrong_password_and_a_missing_repository_have_their_own_reasons(rig: Rig, repository: Path) -> None:
    rig.password = "wrong"
    rig.enrol()
    rig.start()
    wrong = rig.order()
    rig.server.connected().send(wrong)
    refused = rig.server.wait_for("job.finished", job_id=wrong.job_id).payload
    repository.rename(rig.base / "elsewhere")
    missing = rig.order()

    rig.server.connections[0].send(missing)
    absent = rig.server.wait_for("job.finished", job_id=missing.job_id).payload

    assert (refused.outcome, refused.reason, refused.exit_code in (1, 12)) == ("failed", "wrong_password", True)
    assert (absent.outcome, absent.reason) == ("failed", "no_repository")


def test_a_locked_repository_is_told_and_its_lock_is_left_alone(rig: Rig, repository: Path) -> None:
    big_source(rig, 8)
    rig.restic("backup", str(rig.base / "source"))
    child = subprocess.Popen(
        [rig.program, "check", "--read-data", "--limit-download", "512"],
        env=rig.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(rig.locks)
        held = rig.locks()
        rig.start()
        order = rig.order(group=SourceGroupSpec(name="documents", lock_wait_seconds=0))

        rig.server.connected().send(order)
        finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload

        assert (finished.outcome, finished.reason) == ("failed", "locked")
        assert f"process {child.pid}" in finished.message
        assert set(held) <= set(rig.locks())
    finally:
        child.kill()
        child.wait()


def test_a_cancel_ends_restic_and_leaves_no_lock(rig: Rig, repository: Path) -> None:
    big_source(rig, 60)
    slow_restic(rig)
    rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    until(rig.locks)
    rig.server.wait_for("job.progress", job_id=order.job_id)

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    # A later restic that is interrupted while it saves a pack ends with 1.
    assert (finished.outcome, finished.reason) == ("cancelled", "cancelled")
    assert finished.exit_code in (1, 130)
    assert rig.locks() == []


def test_a_lock_that_a_hard_end_leaves_behind_is_removed(rig: Rig, repository: Path) -> None:
    big_source(rig, 60)
    slow_restic(rig)
    rig.grace_seconds = 0.0
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.progress", job_id=order.job_id)
    running = agent.jobs._journal.of(order.job_id).processes()
    assert running
    os.kill(running.restic, signal.SIGSTOP)

    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (finished.outcome, rig.locks()) == ("cancelled", [])
    assert any("was killed" in line for line in rig.server.log(order.job_id))


def test_the_oldest_restic_removes_its_lock_on_the_signal_that_cancel_sends(rig: Rig, repository: Path) -> None:
    big_source(rig, 60)
    left = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        child = subprocess.Popen(
            [rig.program, "backup", "--json", "--limit-upload", "8192", "--pack-size", "4", str(rig.base / "source")],
            env=rig.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout
        while b'"bytes_done"' not in child.stdout.readline():
            continue
        child.send_signal(number)
        child.communicate(timeout=45)
        left[number] = len(rig.locks())
        rig.restic("unlock", "--remove-all")

    assert left[signal.SIGINT] == 0


def test_no_secret_is_on_a_command_line_in_a_report_or_in_a_file(rig: Rig, repository: Path) -> None:
    big_source(rig, 60)
    slow_restic(rig)
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.progress", job_id=order.job_id)
    running = agent.jobs._journal.of(order.job_id).processes()
    assert running is not None

    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (running.restic, running.wrapper)]
    rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
    rig.server.wait_for("job.finished", job_id=order.job_id)
    rig.stop()

    secrets = [PASSWORD.encode(), rig.server.credential.encode()]
    assert b"backup" in lines[0]
    assert not any(secret in line for secret in secrets for line in lines)
    assert not any(secret.decode() in str(message.payload) for secret in secrets for message in rig.server.received)
    for path in rig.base.rglob("*"):
        if path.is_file() and path not in (rig.paths.secrets_file, rig.base / "source" / "big"):
            assert not any(secret in path.read_bytes() for secret in secrets), path


def test_the_snapshots_job_lists_what_is_there(rig: Rig, repository: Path) -> None:
    for _ in range(2):
        rig.restic("backup", str(rig.base / "source"), "--tag", "a,b")
    rig.start()
    order = rig.order("snapshots")

    rig.server.connected().send(order)
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    report = rig.server.all("snapshots.report")[0].payload
    assert (finished.outcome, finished.message) == ("succeeded", "2 snapshots listed.")
    assert (report.total, report.is_last, report.items[0].tags) == (2, True, ["a", "b"])


def test_a_test_of_the_repository_answers_at_once(rig: Rig, repository: Path) -> None:
    rig.start()
    good, bad = (
        CommandBrowse(request_id=ids.new_ulid(), query="test", repository_id="repo-1"),
        CommandBrowse(request_id=ids.new_ulid(), query="test", repository_id="unknown"),
    )

    rig.server.connected().send(good)
    rig.server.connections[0].send(bad)

    opened = rig.server.wait_for("browse.result", request_id=good.request_id).payload
    refused = rig.server.wait_for("browse.result", request_id=bad.request_id).payload
    assert (opened.ok, len(opened.data["restic_repository_id"])) == (True, 64)
    assert (refused.ok, refused.reason) == (False, "not_configured")


def test_kill_9_of_the_agent_during_a_backup_ends_in_one_true_outcome(rig: Rig, repository: Path) -> None:
    big_source(rig, 24)
    slow_restic(rig)
    first = rig.spawn()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.progress", job_id=order.job_id)
    first.kill()
    first.wait()

    second = rig.spawn()
    rig.server.connected(2).send(order)
    finished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    second.send_signal(signal.SIGTERM)

    assert second.wait(40) == 0
    assert (finished.outcome, finished.exit_code) == ("succeeded", 0)
    assert len(rig.server.all("job.finished")) == 1
    lines = [(line.n, line.text) for m in rig.server.all("job.log") for line in m.payload.lines]
    assert [n for n, _ in lines] == list(range(1, len(lines) + 1))
    assert len(rig.restic("snapshots", "--json").stdout.split(b'"short_id"')) == 2


def test_an_ordered_stop_leaves_restic_running_and_the_next_start_takes_it_up(rig: Rig, repository: Path) -> None:
    big_source(rig, 20)
    slow_restic(rig)
    agent = rig.start()
    order = rig.order()
    rig.server.connected().send(order)
    rig.server.wait_for("job.progress", job_id=order.job_id)
    running = agent.jobs._journal.of(order.job_id).processes()

    rig.stop()
    assert running and linux.start_time(running.restic) == running.restic_started
    rig.start()

    assert rig.server.wait_for("job.finished", job_id=order.job_id).payload.outcome == "succeeded"
    assert any("taken this job up again" in line for line in rig.server.log(order.job_id))
