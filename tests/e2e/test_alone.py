"""What the end-to-end tests start and mount is gone with them, also when nobody could tidy up."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.processes import command_line
from tests.install.server import ROOT, until

pytestmark = pytest.mark.root
ALONE = """
import pathlib, sys
from e2e.__main__ import alone
sys.exit(alone(sys.argv[2:], pathlib.Path(sys.argv[1])))
"""
BUSY = "mkdir $RM_E2E_PLACE/there && mount -t tmpfs e2e $RM_E2E_PLACE/there && (sleep {mark} & sleep {mark})"


@pytest.fixture
def start() -> Callable[[Path, str], "subprocess.Popen[bytes]"]:
    if os.getuid() != 0 or not all(shutil.which(name) for name in ("unshare", "setpriv")):
        pytest.skip("needs root, unshare and setpriv")

    def one(place: Path, shell: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", ALONE, str(place), "sh", "-c", shell], cwd=ROOT)

    return one


def sleeping(mark: str) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and command_line(int(entry.name))[:2] == ["sleep", mark]
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_no_process_and_no_mount(
    start: Callable[[Path, str], "subprocess.Popen[bytes]"], tmp_path: Path, number: int
) -> None:
    place, mark = tmp_path / "place", f"{100_000 + os.getpid()}.{int(number)}"
    run = start(place, BUSY.format(mark=mark))
    until(lambda: len(sleeping(mark)) == 2, "the run to be busy", seconds=60)

    run.send_signal(number)
    run.wait(60)

    until(lambda: not sleeping(mark), "what it started to end", seconds=60)
    assert str(place) not in Path("/proc/self/mounts").read_text()


def test_the_place_is_empty_for_the_next_run_and_gone_after_it(
    start: Callable[[Path, str], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    (place / "left" / "behind").mkdir(parents=True)

    assert start(place, "test ! -e $RM_E2E_PLACE/left && test -d $TMPDIR && exit 7").wait(60) == 7

    assert not place.exists()
