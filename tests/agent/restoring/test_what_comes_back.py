"""Restores with real restics: exactly what was chosen, and the check afterwards."""

import os
from pathlib import Path

import pytest

from tests.agent import trees
from tests.agent.conftest import Rig
from tests.agent.restoring.ordering import held_back, order, run, snapshot

pytestmark = [pytest.mark.restic, pytest.mark.timeout(500)]
GONE = "f" * 64


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
