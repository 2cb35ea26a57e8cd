"""Check, unlock and prune with real restics, and which of their jobs must not meet."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rm.domain import dispatch
from rm.shared.protocol import JobFinished
from tests.agent.conftest import Rig, until
from tests.restserver import tools

pytestmark = pytest.mark.restic


@pytest.fixture(params=["installed", "newer"], autouse=True)
def program(request: pytest.FixtureRequest, rig: Rig) -> None:
    rig.use(tools.program(request.param))


def run(rig: Rig, kind: str, **parameters: str) -> JobFinished:
    """What the agent reports of such a job."""
    order = rig.order(kind, parameters=parameters)
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(order)
    finished: JobFinished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    return finished


@contextmanager
def shared_lock(rig: Rig) -> Iterator[None]:
    """A backup that waits for its input, as a backup at work holds its lock."""
    child = subprocess.Popen(
        [rig.program, "backup", "--stdin"], env=rig.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(rig.locks)
        yield
    finally:
        child.kill()
        child.communicate()


def forgotten(rig: Rig) -> None:
    """A repository with data that no snapshot needs any more."""
    (rig.base / "source" / "big").write_bytes(os.urandom(2_000_000))
    rig.restic("backup", str(rig.base / "source"))
    (rig.base / "source" / "big").unlink()
    rig.restic("backup", str(rig.base / "source"))
    rig.restic("forget", "--keep-last", "1")


def test_a_prune_frees_what_no_snapshot_needs(rig: Rig, repository: Path) -> None:
    forgotten(rig)
    before = sum(path.stat().st_size for path in (repository / "data").rglob("*") if path.is_file())

    pruned = run(rig, "prune")

    after = sum(path.stat().st_size for path in (repository / "data").rglob("*") if path.is_file())
    assert (pruned.outcome, pruned.exit_code) == ("succeeded", 0), pruned
    assert before - after > 1_900_000
    assert "freed" in pruned.message
    assert rig.locks() == []


def test_a_check_of_a_sound_repository_says_what_was_read(rig: Rig, repository: Path) -> None:
    forgotten(rig)

    structure, part, everything = run(rig, "check"), run(rig, "check", subset="1/2"), run(rig, "check", subset="1/1")

    assert [job.outcome for job in (structure, part, everything)] == ["succeeded"] * 3
    assert "was not read" in structure.message
    assert "part 1/2" in part.message
    assert "all data was read" in everything.message


def test_a_check_finds_damaged_data(rig: Rig, repository: Path) -> None:
    forgotten(rig)
    for pack in [path for path in (repository / "data").rglob("*") if path.is_file()]:
        content = bytearray(pack.read_bytes())
        content[10] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(content)

    found = run(rig, "check", subset="1/1")

    assert (found.outcome, found.reason) == ("failed", "repository_damaged"), found
    assert rig.locks() == []


def test_unlock_removes_the_lock_of_the_dead_and_names_it(rig: Rig, repository: Path) -> None:
    with shared_lock(rig):
        pass
    assert len(rig.locks()) == 1

    unlocked = run(rig, "unlock")

    assert unlocked.message.startswith("Removed 1 stale lock: lock "), unlocked
    assert unlocked.summary == {"locks_removed": 1, "locks_left": 0}
    assert rig.locks() == []


def test_unlock_leaves_the_lock_of_the_living_and_says_so(rig: Rig, repository: Path) -> None:
    with shared_lock(rig):
        unlocked = run(rig, "unlock")

        assert len(rig.locks()) == 1

    assert unlocked.outcome == "succeeded"
    assert unlocked.message.startswith("No lock was removed. Still locked: lock ")


@pytest.mark.parametrize("kind", ["backup", "check", "prune", "forget", "unlock", "snapshots", "init"])
def test_the_queue_knows_what_restic_itself_refuses_beside_a_backup(rig: Rig, repository: Path, kind: str) -> None:
    arguments = {"backup": ["backup", str(rig.base / "source")], "snapshots": ["snapshots", "--no-lock"]}
    with shared_lock(rig):
        done = rig.restic(*arguments.get(kind, [kind, "--keep-last", "1"] if kind == "forget" else [kind]))

    refused = done.returncode != 0 and b"already locked" in done.stderr
    assert refused == dispatch.conflicts(kind, "backup")


def test_nothing_is_written_into_another_repository_than_the_known_one(rig: Rig, repository: Path) -> None:
    known = json.loads(rig.restic("cat", "config").stdout)["id"]

    right = run(rig, "backup", restic_repository_id=known)
    wrong = run(rig, "backup", restic_repository_id="0" * 64)

    assert right.outcome == "succeeded"
    assert (wrong.outcome, wrong.reason, wrong.exit_code) == ("failed", "repository_changed", None)
    assert known[:10] in wrong.message
    assert len(json.loads(rig.restic("snapshots", "--json").stdout)) == 1
    assert rig.server.all("repository.stats")[-1].payload.restic_repository_id == known


def several_snapshots(rig: Rig) -> None:
    """Four snapshots of web1's documents, one of its photos, and one of another host."""
    for number in range(4):
        (rig.base / "source" / "letter.txt").write_text(f"letter {number}")
        rig.restic("backup", "--host", "web1", "--tag", "documents,daily", str(rig.base / "source"))
    rig.restic("backup", "--host", "web1", "--tag", "photos", str(rig.base / "source"))
    rig.restic("backup", "--host", "db1", "--tag", "documents", str(rig.base / "source"))


def forget(rig: Rig, retention: object, **fields: str) -> JobFinished:
    order = rig.order("forget", source_group="documents", parameters={"retention": retention}, **fields)
    if rig.agent is None:
        rig.start()
    rig.server.connected().send(order)
    finished: JobFinished = rig.server.wait_for("job.finished", job_id=order.job_id).payload
    return finished


def test_a_forget_touches_only_its_own_hosts_group_and_tells_what_went(rig: Rig, repository: Path) -> None:
    several_snapshots(rig)

    done = forget(rig, {"keep_last": 1, "keep_daily": 0})

    left = json.loads(rig.restic("snapshots", "--json").stdout)
    assert (done.outcome, done.message) == ("succeeded", "3 snapshots removed, 1 kept."), done
    assert done.summary == {"removed": 3, "kept": 1}
    assert sorted((one["hostname"], one["tags"][0]) for one in left) == [
        ("db1", "documents"), ("web1", "documents"), ("web1", "photos"),
    ]  # fmt: skip
    log = rig.server.log(done.job_id)
    assert sum(line.startswith("removed snapshot ") for line in log) == 3
    assert not any(line.startswith("[{") for line in log)
    report = rig.server.all("snapshots.report")[-1].payload
    assert (report.total, rig.locks()) == (3, [])


def test_a_forget_without_snapshots_succeeds(rig: Rig, repository: Path) -> None:
    done = forget(rig, {"keep_within": "30d"})

    assert (done.outcome, done.summary) == ("succeeded", {"removed": 0, "kept": 0})


@pytest.mark.parametrize(
    "retention", [None, {}, {"keep_last": 0}, {"keep_last": 1, "prune": True}, {"keep_last": "1"}, {"keep_within": "x"}]
)
def test_a_policy_that_is_empty_or_not_understood_removes_nothing(
    rig: Rig, repository: Path, retention: object
) -> None:
    several_snapshots(rig)

    refused = forget(rig, retention)

    assert (refused.outcome, refused.reason) == ("failed", "unsupported")
    assert len(json.loads(rig.restic("snapshots", "--json").stdout)) == 6


def test_a_forget_that_names_no_host_removes_nothing(rig: Rig, repository: Path) -> None:
    several_snapshots(rig)

    assert forget(rig, {"keep_last": 1}, hostname="").reason == "unsupported"
    assert len(json.loads(rig.restic("snapshots", "--json").stdout)) == 6
