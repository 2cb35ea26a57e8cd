"""A real disk that fills up in each phase: the update ends with a word, and the agent that runs goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rm.shared.protocol import Message
from tests.agent.conftest import until
from tests.agent.update.machine import Machine, UpdateServer, Workshop

pytestmark = [pytest.mark.root, pytest.mark.timeout(150)]


@pytest.fixture
def small(tmp_path: Path, releases: UpdateServer, workshop: Workshop) -> Iterator[Machine]:
    """A host on a file system of its own, with 76 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    machine = Machine(place / "host", releases, workshop).make()
    yield machine
    machine.close()
    subprocess.run(["umount", "-l", str(place)], check=False)


def fill(machine: Machine, *, but: int = 0) -> Path:
    """Leave so many bytes free."""
    ballast = machine.root / "ballast"
    free = shutil.disk_usage(machine.root).free - but
    with open(ballast, "ab") as file:
        while free > 0:
            try:
                free -= file.write(bytes(min(free, 4096)))
                file.flush()
            except OSError:
                break
    return ballast


def runs_on(machine: Machine, releases: UpdateServer) -> None:
    assert machine.live() == machine.workshop.release(1).artifact_sha256
    assert machine.is_over()
    assert machine.left() <= {"rm-agent.old"}
    assert releases.all("hello")[-1].payload.agent_seq == 1


def test_too_little_room_is_found_before_anything_is_fetched(
    small: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    small.start()
    releases.connected()
    fill(small, but=30 * 1024 * 1024)

    attempt = small.send(small.order(release))

    assert releases.outcome(attempt) == ("refused", "preflight", "no_space")
    assert not [path for path, _ in releases.asked if path.startswith("/agent/artifact/")]
    runs_on(small, releases)


def test_a_disk_that_fills_during_the_download_leaves_nothing_behind(
    small: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    filled: list[Path] = []

    def full(at: int) -> None:
        if not filled:
            filled.append(fill(small, but=256 * 1024))

    releases.chunk_delay = full
    small.start()

    attempt = small.send(small.order(release))

    assert releases.outcome(attempt)[::2] == ("failed", "disk_full")
    runs_on(small, releases)


@pytest.mark.parametrize("phase", ["selftest", "swapping"])
def test_a_disk_that_fills_before_the_swap_leaves_the_agent_that_was_told(
    small: Machine, releases: UpdateServer, workshop: Workshop, phase: str
) -> None:
    release = releases.offer(workshop.release(2))
    fence = releases.fence

    def full(message: Message) -> object:
        fill(small)
        return fence(message)

    releases.fence = full
    if phase == "selftest":
        releases.chunk_delay = lambda at: fill(small, but=2 * 1024 * 1024) if at == 0 else None
    small.start()

    attempt = small.send(small.order(release))

    outcome = releases.outcome(attempt, 60)
    # The outbox gives up its reserve, and with that room the swap may go through.
    seq = 2 if outcome[0] == "committed" else 1
    (small.root / "ballast").unlink()
    until(small.is_over)
    until(lambda: releases.all("hello")[-1].payload.agent_seq == seq)
    assert small.live() == workshop.release(seq).artifact_sha256
