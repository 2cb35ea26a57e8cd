"""Proof 1: whatever a power cut leaves of a swap, the real guard starts a whole agent, and can put the old one back."""

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.update import swap
from agent.update.records import GuardFiles, Trial
from agent.update.swap import Places
from tests.agent.guarded import ATTEMPT, GUARD
from tests.agent.update.crash_model import Image, Model, Recorder, images_of

EARLIER = b"#!/bin/sh\necho the release that ran\n" * 4
LATER = b"#!/bin/sh\necho the release that was ordered\n" * 4
BEFORE = b"#!/bin/sh\necho the release before that\n" * 4
# Left by a trial that ended in a power cut: none of it may speak for the next one.
STALE = {"ask_revert": b"release\n", "expired": f"{ATTEMPT}\n".encode(), "committed": b""}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Case:
    """One way to swap: what becomes the live program, and whether the file system has links."""

    name: str
    target: bytes
    has_links: bool


CASES = [
    Case("an update", LATER, True),
    Case("an update without links", LATER, False),
    Case("a rollback", BEFORE, True),
    Case("a rollback without links", BEFORE, False),
]


def record(root: Path, case: Case) -> tuple[Recorder, Model]:
    """Make the real swap, step by step, and say how the disk was before."""
    places, files = Places(root / "bin" / "rm-agent"), root / "state" / "update"
    places.program.parent.mkdir(parents=True)
    files.mkdir(parents=True)
    model = Model()
    is_update = case.target == LATER
    there = {places.program: EARLIER, places.old: BEFORE} | ({places.part: LATER} if is_update else {})
    there |= {files / name: data or f"{sha256(case.target)}\n".encode() for name, data in STALE.items()}
    for path, data in there.items():
        path.write_bytes(data)
        model.has(str(path), data, is_durable=path != places.part)
    recorder = Recorder(has_links=case.has_links)
    if is_update:
        swap.stage(recorder, places.part, places)
    else:
        swap.stage_old(recorder, places)
    trial = Trial(ATTEMPT, sha256(EARLIER), sha256(case.target), limit_s=60, commit_s=600)
    swap.carry_out(recorder, places, GuardFiles(files, recorder), trial)
    assert places.program.read_bytes() == case.target
    return recorder, model


def boot(image: Image, root: Path, case: Case) -> str:
    """Let the real guard start what is there, up to five times; what is wrong, empty when nothing is."""
    with tempfile.TemporaryDirectory(dir=root.parent) as place:
        host = Path(place)
        for path, data in image:
            target = host / Path(path).relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (host / "state" / "update").mkdir(parents=True, exist_ok=True)
        program = host / "bin" / "rm-agent"
        for start in range(1, 6):
            subprocess.run(["sh", str(GUARD), "--root", str(host), "check"], check=True, capture_output=True)
            found = program.read_bytes() if program.exists() else None
            if found == EARLIER:
                return ""
            if found != case.target:
                return f"start {start}: {'torn' if found is not None else 'no program'}"
            if start > 3:
                return f"start {start}: the new release is not on trial"
        return "never put back"


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A place where a sync costs nothing, since the model does the forgetting."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as place:
        yield Path(place)


@pytest.mark.timeout(300)
def test_no_power_cut_in_a_swap_leaves_a_host_that_does_not_boot(
    quick_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    states, unbootable, points = 0, [], 0
    for number, case in enumerate(CASES):
        root = quick_disk / str(number)
        recorder, model = record(root, case)
        images = images_of(recorder, model)
        with ThreadPoolExecutor(2) as pool:
            verdicts = list(pool.map(lambda image, r=root, c=case: boot(image, r, c), images))
        states, points = states + len(images), points + len(recorder.steps) + 1
        unbootable += [f"{case.name}: {verdict}" for verdict in verdicts if verdict]

    with capfd.disabled():
        print(f"\nreplace model: {states} states from {points} crash points, {len(unbootable)} unbootable")
    assert unbootable == []
    assert states > 80


def test_the_model_finds_a_swap_that_forgets_a_sync(quick_disk: Path) -> None:
    case = CASES[0]
    recorder, model = record(quick_disk / "0", case)
    candidate = str(quick_disk / "0" / "bin" / "rm-agent.part")
    careless = [("nothing", "") if step == ("sync", candidate) else step for step in recorder.steps]
    renamed = careless.index(("sync", str(quick_disk / "0" / "bin" / "rm-agent.new")))
    careless[renamed] = ("nothing", "")

    recorder.steps = [step if step[0] != "nothing" else ("sync_names", "/nowhere") for step in careless]
    torn = [image for image in images_of(recorder, model)
            if 0 < len(dict(image)[str(quick_disk / "0" / "bin" / "rm-agent")]) < len(LATER)
            and dict(image)[str(quick_disk / "0" / "bin" / "rm-agent")] != EARLIER]  # fmt: skip

    assert torn


def test_a_swap_that_arms_after_the_rename_would_leave_a_release_without_trial(quick_disk: Path) -> None:
    case = CASES[0]
    root = quick_disk / "0"
    recorder, model = record(root, case)
    armed = [at for at, step in enumerate(recorder.steps) if step[-1].endswith(("/trial", "/.trial.new"))]
    first, last = armed[0], armed[-1] + 1
    moved = recorder.steps[first:last]
    contents = {recorder.contents.pop(str(first))}
    recorder.steps = recorder.steps[:first] + recorder.steps[last + 1 :] + moved
    recorder.contents = {str(recorder.steps.index(moved[0])): contents.pop()}

    verdicts = {boot(image, root, case) for image in images_of(recorder, model)}

    assert "start 4: the new release is not on trial" in verdicts
