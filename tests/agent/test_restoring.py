"""Restores with real restics: exactly what was chosen, where it may go, how far it is, and the check afterwards."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import restore_job, restoring
from agent.lines import OutOfTime
from agent.restoring import Wish
from agent.target import Places
from agent.verification import Verification
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished
from tests.agent import trees
from tests.agent.conftest import Rig, until
from tests.restserver import tools

pytestmark = [pytest.mark.restic, pytest.mark.timeout(500)]

GONE = "f" * 64
JOB_SECONDS = 400.0


@pytest.fixture(params=["installed", "newer"], autouse=True)
def program(request: pytest.FixtureRequest, rig: Rig) -> str:
    found = tools.program(request.param)
    rig.use(found)
    return str(request.param)


@pytest.fixture(autouse=True)
def made_repository(repository: Path) -> Path:
    return repository


def snapshot(rig: Rig) -> str:
    """The id of a new snapshot of the source."""
    done = rig.restic("backup", "--json", str(rig.base / "source"))
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])


def order(rig: Rig, snapshot_id: str, *paths: str, target: str = "", in_place: bool = False) -> CommandRun:
    return rig.order(
        "restore",
        parameters={"snapshot_id": snapshot_id, "paths": list(paths), "target": target, "in_place": in_place},
    )


def run(rig: Rig, ordered: CommandRun) -> JobFinished:
    """What the agent reports of the job."""
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(ordered)
    finished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id)
    result: JobFinished = finished.payload
    return result


def held_back(rig: Rig, command: str) -> None:
    """Put a script in the place of restic that does something else for `restore`."""
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    real = shutil.which(rig.program)
    path.write_text(f'#!/bin/sh\nREAL={real}\nif [ "$1" = restore ]; then {command}; fi\nexec $REAL "$@"\n')
    path.chmod(0o755)


def big(rig: Rig, mib: int) -> None:
    with open(rig.base / "source" / "big", "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1024 * 1024))


def below(path: Path) -> list[str]:
    """The files below a path."""
    return sorted(str(one.relative_to(path)) for one in path.rglob("*") if not one.is_dir())


def test_a_tree_of_50000_files_comes_back_equal_in_every_way(rig: Rig, program: str) -> None:
    source = rig.base / "source"
    trees.plant(os.fsencode(source), files=50_000)
    made = snapshot(rig)

    finished = run(rig, order(rig, made, str(source)))

    assert (finished.outcome, finished.reason) == ("succeeded", ""), finished
    target = Path(finished.summary["target"])
    before, after = trees.told(os.fsencode(source)), trees.told(os.fsencode(f"{target}{source}"))
    assert before.keys() == after.keys()
    different = {path: (before[path], after[path]) for path in before if before[path] != after[path]}
    assert different == {}
    files = sum(
        1
        for path in before
        if os.path.isfile(os.fsencode(source) + path) and not os.path.islink(os.fsencode(source) + path)
    )
    assert (finished.summary["checked_files"], finished.summary["mismatches"]) == (files, 0)
    assert finished.summary["restored_files"] == files
    sparse = os.stat(f"{target}{source}/special/sparse")
    assert program == "installed" or sparse.st_blocks * 512 < sparse.st_size / 2
    phases = {m.payload.phase for m in rig.server.all("job.progress", job_id=finished.job_id)}
    assert "verifying" in phases


def test_only_what_was_chosen_comes_back(rig: Rig) -> None:
    source = rig.base / "source"
    for name in ("a/b/c", "a/bc", "a/b.txt", "x/a/b", "x" + str(source) + "/a/b/c", "a/d"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    made = snapshot(rig)

    finished = run(rig, order(rig, made, f"{source}/a/b", f"{source}/a/d"))

    assert finished.outcome == "succeeded", finished
    assert below(Path(f"{finished.summary['target']}{source}")) == ["a/b/c", "a/d"]
    assert (finished.summary["checked_files"], finished.summary["checked_bytes"]) == (2, 8)


def test_each_odd_name_can_be_chosen_and_brings_nothing_else(rig: Rig) -> None:
    source = os.fsencode(rig.base / "source")
    decoys = [
        b"starfish",
        b"qx",
        b"a",
        b"b",
        b"backslash",
        b"back\\yx",
        b"lead",
        b"trail",
        b"newxline",
        b"dash",
        b"bang",
    ]
    for name in [*trees.ODD_NAMES, *decoys]:
        trees.write(source + b"/" + name, name)
    made = snapshot(rig)

    finished = run(rig, order(rig, made, *(os.fsdecode(source + b"/" + name) for name in trees.ODD_NAMES)))

    assert finished.outcome == "succeeded", finished
    back = os.fsencode(finished.summary["target"]) + source
    assert sorted(os.listdir(back)) == sorted(trees.ODD_NAMES)
    assert all(Path(os.fsdecode(back + b"/" + name)).read_bytes() == name for name in trees.ODD_NAMES)


def test_names_that_are_no_text_come_back_with_their_folder_and_are_checked(rig: Rig) -> None:
    folder = os.fsencode(rig.base / "source" / "folder")
    os.mkdir(folder)
    for name in trees.LOST_NAMES:
        trees.write(folder + b"/" + name, name)
    made = snapshot(rig)

    whole = run(rig, order(rig, made, os.fsdecode(folder)))
    alone = run(rig, order(rig, made, os.fsdecode(folder) + "/caf\ufffd"))

    assert (whole.outcome, whole.summary["checked_files"], whole.summary["mismatches"]) == ("succeeded", 4, 0)
    assert sorted(os.listdir(os.fsencode(whole.summary["target"]) + folder)) == sorted(trees.LOST_NAMES)
    assert (alone.outcome, alone.reason) == ("failed", "path_gone")
    assert "choose the folder above it" in alone.message


def test_everything_comes_back_into_a_folder_that_only_its_owner_may_enter(rig: Rig) -> None:
    made = snapshot(rig)

    ordered = order(rig, made)
    finished = run(rig, ordered)

    target = rig.paths.restore / ordered.job_id
    assert finished.summary["target"] == str(target)
    assert (target / str(rig.base / "source" / "letter.txt").lstrip("/")).read_text() == "dear reader"
    assert [path.stat().st_mode & 0o777 for path in (rig.paths.restore, target)] == [0o700, 0o700]
    log = rig.server.log(ordered.job_id)
    assert any(line.startswith(f"$ restic restore {made} --target={target}") for line in log)
    assert any("no file that exists is overwritten" in line for line in log)


def test_a_target_must_be_an_empty_folder_below_the_restore_directory(rig: Rig) -> None:
    made = snapshot(rig)
    restore = rig.paths.restore
    restore.mkdir(mode=0o755)
    (restore / "full").mkdir()
    (restore / "full" / "mine").write_text("precious")
    (restore / "link").symlink_to(rig.base)
    outside = [str(rig.base / "elsewhere"), str(restore), f"{restore}/../elsewhere", "relative", f"{restore}s/x"]

    good = run(rig, order(rig, made, target=f"{restore}/mine/deep"))
    refused = [run(rig, order(rig, made, target=target)) for target in outside]
    linked = run(rig, order(rig, made, target=f"{restore}/link/x"))
    full = run(rig, order(rig, made, target=f"{restore}/full"))

    assert good.outcome == "succeeded"
    assert (restore / "mine" / "deep").is_dir() and restore.stat().st_mode & 0o777 == 0o700
    assert {(job.outcome, job.reason) for job in refused} == {("failed", "target_not_allowed")}
    assert (linked.reason, full.reason) == ("target_not_allowed", "target_not_empty")
    assert not (rig.base / "x").exists() and not (rig.base / "elsewhere").exists()
    assert (restore / "full" / "mine").read_text() == "precious"


def test_in_place_only_where_the_owner_of_the_host_allows_it(rig: Rig) -> None:
    made = snapshot(rig)
    letter = rig.base / "source" / "letter.txt"
    letter.write_text("scribbled over it")
    (rig.base / "source" / "newer").write_text("not in the snapshot")

    refused = run(rig, order(rig, made, str(letter), in_place=True))
    untouched = letter.read_text()
    rig.stop()
    with open(rig.paths.config_file, "a") as file:
        file.write("restore_in_place = true\n")
    allowed = order(rig, made, str(rig.base / "source"), in_place=True)
    finished = run_again(rig, allowed)

    assert (refused.outcome, refused.reason) == ("failed", "in_place_not_allowed")
    assert "--allow-restore-in-place" in refused.message and untouched == "scribbled over it"
    assert (finished.outcome, finished.summary["target"]) == ("succeeded", "/"), finished
    assert letter.read_text() == "dear reader"
    assert (rig.base / "source" / "newer").read_text() == "not in the snapshot"
    assert any("files that exist at their old place are overwritten" in line for line in rig.server.log(allowed.job_id))


def run_again(rig: Rig, ordered: CommandRun) -> JobFinished:
    """The same for an agent that was started a second time."""
    rig.start()
    rig.server.connected(2).send(ordered)
    result: JobFinished = rig.server.wait_for("job.finished", seconds=JOB_SECONDS, job_id=ordered.job_id).payload
    return result


def test_a_file_of_the_same_size_and_time_is_made_good_in_place(rig: Rig) -> None:
    made = snapshot(rig)
    letter = rig.base / "source" / "letter.txt"
    before = letter.stat()
    letter.write_text("DEAR READER")
    os.utime(letter, ns=(before.st_atime_ns, before.st_mtime_ns))
    with open(rig.paths.config_file, "a") as file:
        file.write("restore_in_place = true\n")

    finished = run(rig, order(rig, made, str(letter), in_place=True))

    assert (finished.outcome, letter.read_text()) == ("succeeded", "dear reader")


def test_what_is_gone_is_told_before_anything_is_made(rig: Rig) -> None:
    made = snapshot(rig)

    snapshot_gone = run(rig, order(rig, GONE))
    path_gone = run(rig, order(rig, made, str(rig.base / "source"), "/no/such"))
    nonsense = [run(rig, order(rig, *asked)) for asked in (("latest",), (made, "relative"), (made, "/a/../b"))]

    assert (snapshot_gone.outcome, snapshot_gone.reason) == ("failed", "snapshot_gone")
    assert (path_gone.outcome, path_gone.reason) == ("failed", "path_gone")
    assert "/no/such" in path_gone.message and "source" not in path_gone.message
    assert {job.reason for job in nonsense} == {"bad_request"}
    assert not rig.paths.restore.exists()


def test_a_snapshot_that_goes_between_the_look_and_the_restore_is_named(rig: Rig) -> None:
    made = snapshot(rig)
    held_back(rig, f'shift 2; exec $REAL restore {GONE} "$@"')

    finished = run(rig, order(rig, made))

    assert (finished.outcome, finished.reason) == ("failed", "snapshot_gone"), finished


def test_a_file_that_is_not_as_the_snapshot_says_fails_the_job(rig: Rig) -> None:
    for number in range(15):
        (rig.base / "source" / f"file {number}").write_text("0123456789")
    made = snapshot(rig)
    target = f"{rig.paths.restore}/there"
    inside = f"{target}{rig.base}/source"
    held_back(
        rig,
        f'$REAL "$@"; code=$?; rm "{inside}/letter.txt"; for f in "{inside}"/file*; do echo >> "$f"; done; exit $code',
    )

    ordered = order(rig, made, target=target)
    finished = run(rig, ordered)

    assert (finished.outcome, finished.reason, finished.exit_code) == ("failed", "restore_mismatch", 0)
    assert (finished.summary["mismatches"], finished.summary["restored_files"]) == (16, 0)
    assert "16 entries" in finished.message and "file 0" in finished.message
    log = rig.server.log(ordered.job_id)
    assert len([line for line in log if line.startswith(f"{rig.base}") and "instead of 10 B (10)" in line]) == 10
    assert any("and 6 more" in line for line in log)


def test_errors_of_restic_on_some_files_are_told_although_all_are_there(rig: Rig) -> None:
    made = snapshot(rig)
    held_back(rig, '$REAL "$@"; echo "Fatal: There were 1 errors" >&2; exit 1')

    finished = run(rig, order(rig, made))

    assert (finished.outcome, finished.reason, finished.exit_code) == ("warnings", "restore_errors", 1), finished


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


def test_a_target_that_cannot_be_made_is_told(rig: Rig) -> None:
    made = snapshot(rig)
    rig.paths.restore.write_text("a file is in the way")

    finished = run(rig, order(rig, made))

    assert (finished.outcome, finished.reason) == ("failed", "target_not_writable")
    assert str(rig.paths.restore) in finished.message


@pytest.fixture
def small_target(rig: Rig) -> Iterator[Path]:
    """A restore directory on a file system of its own, with 2 MiB."""
    if os.getuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    rig.paths.restore.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(rig.paths.restore)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield rig.paths.restore
    rig.stop()
    subprocess.run(["umount", "-l", str(rig.paths.restore)], check=False)


@pytest.mark.root
def test_what_cannot_fit_is_refused_with_figures(rig: Rig, small_target: Path) -> None:
    big(rig, 5)
    made = snapshot(rig)

    whole = run(rig, order(rig, made))
    part = run(rig, order(rig, made, str(rig.base / "source" / "letter.txt")))

    assert (whole.outcome, whole.reason) == ("failed", "target_full")
    assert "5.0 MiB" in whole.message and "2.0 MiB" in whole.message
    assert not (small_target / whole.job_id).exists()
    assert part.outcome == "succeeded"


@pytest.mark.root
def test_a_target_that_fills_up_meanwhile_is_told(
    rig: Rig, small_target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big(rig, 5)
    made = snapshot(rig)
    monkeypatch.setattr(restore_job, "_check_space", lambda *_: None)

    finished = run(rig, order(rig, made))

    assert (finished.outcome, finished.reason) == ("failed", "target_full"), finished
    assert str(small_target) in finished.message
    assert rig.locks() == []


def test_a_tree_of_hard_links_that_share_their_bytes_fits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    big(rig, 2)
    for number in range(20):
        os.link(rig.base / "source" / "big", rig.base / "source" / f"link {number}")
    made = snapshot(rig)
    free = 10 * 1024 * 1024
    monkeypatch.setattr(restore_job, "free_bytes", lambda place: free)

    finished = run(rig, order(rig, made))

    assert finished.outcome == "succeeded", finished
    assert Path(f"{finished.summary['target']}{rig.base}/source/link 7").stat().st_nlink == 21


@pytest.mark.parametrize("version", [(0, 14), (0, 16), (0, 19, 1)])
def test_the_call_overwrites_nothing_unless_it_is_in_place(version: tuple[int, ...]) -> None:
    away, in_place = (Wish("a" * 64, ["/a*"], "", is_in_place) for is_in_place in (False, True))

    calls = [restoring.arguments(asked, target="/t", version=version) for asked in (away, in_place)]

    assert all(call[:3] == ["restore", "a" * 64, "--target=/t"] and call[-1] == "--include=/a\\*" for call in calls)
    told = [[word for word in call if word.startswith("--overwrite")] for call in calls]
    assert told == ([["--overwrite=never"], ["--overwrite=always"]] if version >= (0, 17) else [[], []])


def test_the_restore_directory_may_be_no_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "restore").symlink_to(tmp_path / "real")
    places = Places(tmp_path / "restore")

    with pytest.raises(Exception, match="symbolic link"):
        places.make(places.target("", job_id="one", is_in_place=False))

    assert list((tmp_path / "real").iterdir()) == []


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
