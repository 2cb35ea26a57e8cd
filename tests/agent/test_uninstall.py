"""Taking an agent away: nothing while it is at work, then everything but what is the owner's."""

import os
from pathlib import Path

import pytest

from agent import uninstall
from agent.config import Paths
from agent.platform import linux
from agent.uninstall import StillInUse
from tests.agent.conftest import Rig, until


def removed(paths: Paths) -> list[str]:
    return list(uninstall.uninstall(paths, is_installed=False))


def test_everything_of_the_agents_goes_and_what_was_restored_stays(rig: Rig) -> None:
    assert rig.paths.bin is not None
    rig.paths.bin.mkdir(exist_ok=True)
    rig.paths.hooks.mkdir(exist_ok=True)
    rig.paths.restore.mkdir(parents=True)
    (rig.paths.restore / "letter.txt").write_text("dear reader")

    said = removed(rig.paths)

    gone = (rig.paths.state, rig.paths.config_file, rig.paths.hooks, rig.paths.bin)
    assert [path for path in gone if path.exists()] == []
    assert (rig.paths.restore / "letter.txt").read_text() == "dear reader"
    assert any("1 entry" in line for line in said)


def test_a_second_time_finds_nothing_and_does_not_fail(rig: Rig) -> None:
    removed(rig.paths)

    assert [line for line in removed(rig.paths) if line.startswith("Removed")] == []


def test_a_running_agent_is_not_taken_away_under_its_own_feet(rig: Rig) -> None:
    rig.start()
    rig.server.connected()
    until(lambda: rig.paths.status_file.exists())

    with pytest.raises(StillInUse, match=str(os.getpid())):
        removed(rig.paths)

    assert rig.paths.secrets_file.exists()


def test_a_restic_that_works_without_its_agent_is_left_its_files(rig: Rig) -> None:
    place = rig.paths.jobs / "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    place.mkdir(parents=True)
    own = f"{os.getpid()} {linux.start_time(os.getpid())}"
    (place / "pid").write_text(f"{own} {own}\n")

    with pytest.raises(StillInUse, match=place.name):
        removed(rig.paths)

    assert place.is_dir()


def test_an_end_that_left_its_number_behind_is_no_work(rig: Rig, tmp_path: Path) -> None:
    place = rig.paths.jobs / "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    place.mkdir(parents=True)
    (place / "pid").write_text(f"{os.getpid()} 1 {os.getpid()} 1\n")

    removed(rig.paths)

    assert not rig.paths.state.exists()
