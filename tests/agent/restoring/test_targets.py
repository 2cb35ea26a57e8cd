"""Where a restore may go, and whether it fits."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import restore_job, restoring
from agent.restoring import Wish
from agent.target import Places
from tests.agent.conftest import Rig
from tests.agent.restoring.ordering import big, order, run, run_again, snapshot

pytestmark = [pytest.mark.restic, pytest.mark.timeout(500)]


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
