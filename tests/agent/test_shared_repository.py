"""Two agents at work in one repository: a backup waits for a time-boxed prune no longer than its box."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import Paths
from rm.shared.protocol import SourceGroupSpec
from tests.agent.conftest import Rig, until
from tests.agent.server_double import ServerDouble
from tests.restserver import tools

BOX_SECONDS = 6
# For a loaded machine: the start of a restic alone may take seconds there.
MARGIN_SECONDS = 90
ROUNDS = 3

pytestmark = pytest.mark.restic


@pytest.fixture
def other(rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """A second host that uses the same repository."""
    server = ServerDouble()
    base = tmp_path / "other"
    (base / "source").mkdir(parents=True)
    (base / "source" / "letter.txt").write_text("from the other host")
    found = Rig(base=base, server=server, paths=Paths.of(str(base)), location=rig.location)
    found.enrol()
    yield found
    found.close()
    server.close()


def long_prune(rig: Rig, program: str) -> None:
    """A prune that takes far longer than its box: a slow check, which holds the same exclusive lock."""
    rig.program = program
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    slow = f"exec {program} check --read-data --limit-download 16"
    path.write_text(f'#!/bin/sh\nif [ "$1" = prune ]; then {slow}; fi\nexec {program} "$@"\n')
    path.chmod(0o755)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", ["installed", "newer"])
def test_no_backup_waits_for_a_prune_longer_than_its_time_box(
    rig: Rig, other: Rig, repository: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    (rig.base / "source" / "much").write_bytes(os.urandom(4_000_000))
    rig.restic("backup", str(rig.base / "source"))
    long_prune(rig, tools.program(which))
    other.use(tools.program(which))
    rig.start()
    other.start()
    waited = []

    for number in range(ROUNDS):
        prune = rig.order("prune", time_box_seconds=BOX_SECONDS)
        rig.server.connected().send(prune)
        until(rig.locks)
        (other.base / "source" / "new").write_bytes(os.urandom(500_000))
        backup = other.order(group=SourceGroupSpec(name="documents"))
        began = time.monotonic()
        other.server.connected().send(backup)
        saved = other.server.wait_for("job.finished", BOX_SECONDS + MARGIN_SECONDS, job_id=backup.job_id).payload
        waited.append(time.monotonic() - began)
        ended = rig.server.wait_for("job.finished", BOX_SECONDS + MARGIN_SECONDS, job_id=prune.job_id).payload

        assert (saved.outcome, saved.reason) == ("succeeded", ""), (number, saved)
        assert (ended.outcome, ended.reason) == ("cancelled", "time_box"), (number, ended)

    with capsys.disabled():
        print(
            f"\n{which} restic: backups beside a prune with a box of {BOX_SECONDS} s took at most {max(waited):.1f} s"
        )
    assert max(waited) < BOX_SECONDS + MARGIN_SECONDS
    assert rig.locks() == []
