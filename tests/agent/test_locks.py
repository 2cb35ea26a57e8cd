"""Locks are removed only with proof, one by one where others are stale, and waited for otherwise."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent import locks
from agent.locks import Entry, Ledger, Lock
from agent.platform import linux
from rm.shared import instants
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished, SourceGroupSpec
from tests.agent.conftest import Rig, until
from tests.restserver import tools

pytestmark = pytest.mark.timeout(400)

NOON = instants.from_text("2026-11-26T12:00:00Z").timestamp()
OTHERS = "db1.example.org"


# ---- the proof, without a restic --------------------------------------------------------------------


@dataclass
class Host:
    """A host as the proof sees it; `living` gives each living process its start in ticks and in seconds."""

    hostname: str = "web1"
    boot_id: str = "today"
    living: dict[int, tuple[str, float]] = field(default_factory=dict)

    def start_time(self, pid: int) -> str | None:
        return self.living[pid][0] if pid in self.living else None

    def started_seconds(self, pid: int) -> float | None:
        return self.living[pid][1] if pid in self.living else None


def entry(**fields: Any) -> Entry:
    known = {"pid": 77, "started": "500", "boot_id": "today", "job_id": "J", "started_at": "2026-11-26T11:59:58Z"}
    return Entry(**(known | fields))


LOCK = Lock("a" * 64, "web1", 77, "2026-11-26T12:00:00", at=NOON)


@pytest.mark.parametrize(
    ("lock", "known", "host", "is_proven"),
    [
        (LOCK, entry(), Host(), True),
        (LOCK, entry(), Host(living={77: ("500", NOON - 2)}), False),
        (replace(LOCK, hostname="db1"), entry(), Host(), False),
        (replace(LOCK, pid=78), entry(), Host(), False),
        (replace(LOCK, hostname="", pid=0), entry(pid=0), Host(), False),
        (LOCK, entry(boot_id="yesterday"), Host(), True),
        # somebody else's restic may have the number by now: its lock would be younger than it is
        (LOCK, entry(), Host(living={77: ("900", NOON - 60)}), False),
        (LOCK, entry(), Host(living={77: ("900", NOON + 60)}), True),
        (LOCK, entry(boot_id="yesterday"), Host(living={77: ("500", NOON - 60)}), False),
        # made before that restic was started, or after it had ended
        (replace(LOCK, at=NOON - 60), entry(), Host(), False),
        (LOCK, entry(ended_at="2026-11-26T11:59:59.5Z"), Host(), True),
        (replace(LOCK, at=NOON + 60), entry(ended_at="2026-11-26T12:00:10Z"), Host(), False),
        (replace(LOCK, at=0.0), entry(), Host(), False),
    ],
)
def test_a_lock_is_proven_dead_only_by_a_restic_of_this_agent_that_is_gone(
    lock: Lock, known: Entry, host: Host, is_proven: bool
) -> None:
    found = locks.proof(lock, [known], host)  # type: ignore[arg-type]

    assert (found is not None) is is_proven
    assert found is None or "process 77" in found


def test_the_ledger_survives_a_restart_and_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.locks.KEEP_ENTRIES", 3)
    ledger = Ledger(tmp_path / "restics.json")
    for pid in range(5):
        ledger.note(entry(pid=pid, job_id=f"J{pid}"))
    ledger.note(entry(pid=4, job_id="J4"))
    ledger.ended("J4")

    again = Ledger(tmp_path / "restics.json").entries()

    assert [one.pid for one in again] == [2, 3, 4]
    assert [bool(one.ended_at) for one in again] == [False, False, True]


@pytest.mark.parametrize("body", ["", "[]", "{broken", '{"restics": [{"pid": 3}]}', '{"restics": 7}'])
def test_a_damaged_ledger_proves_nothing(tmp_path: Path, body: str) -> None:
    (tmp_path / "restics.json").write_text(body)

    assert Ledger(tmp_path / "restics.json").entries() == []


# ---- with real restics ------------------------------------------------------------------------------


@pytest.fixture(params=["installed", "newer"])
def program(request: pytest.FixtureRequest, rig: Rig) -> str:
    found = tools.program(request.param)
    rig.use(found)
    return found


@pytest.fixture(autouse=True)
def quick_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.waiting.FIRST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("agent.waiting.LONGEST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr("agent.restic.RETRY_LOCK_SECONDS", 1)


def forge(rig: Rig, program: str, *, hostname: str, exclusive: bool = False, pid: int = 4711) -> str:
    """A lock as a restic of another host, or of an earlier time, leaves it; the id."""
    before = set(rig.locks())
    child = subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh", hostname, program,
         *(["check", "--read-data", "--limit-download", "1"] if exclusive else ["backup", "--stdin"])],
        env=rig.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        new: set[str] = until(lambda: set(rig.locks()) - before)
    finally:
        child.kill()
        child.communicate()
    return new.pop()


needs_namespaces = pytest.mark.skipif(
    os.getuid() != 0 or subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs root and namespaces to take another host's name",
)


@contextmanager
def held(rig: Rig, program: str, *, exclusive: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A restic of somebody else at work on this host."""
    before = set(rig.locks())
    arguments = ["check", "--read-data", "--limit-download", "1"] if exclusive else ["backup", "--stdin"]
    child = subprocess.Popen(
        [program, *arguments], env=rig.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: set(rig.locks()) - before)
        yield child
    finally:
        child.kill()
        child.communicate()


def saved(rig: Rig) -> None:
    """A repository with enough in it for a slow check to hold its lock."""
    (rig.base / "source" / "much").write_bytes(os.urandom(300_000))
    rig.restic("backup", str(rig.base / "source"))


def waiting_group(seconds: int) -> SourceGroupSpec:
    return SourceGroupSpec(name="documents", lock_wait_seconds=seconds)


def finished(rig: Rig, order: CommandRun) -> JobFinished:
    if rig.agent is None:
        rig.start()
    starts = 1 + len(rig._children)
    rig.server.connected(starts).send(order)
    found: JobFinished = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload
    return found


def crashed_backup(rig: Rig) -> None:
    """A backup of the agent whose restic was killed at work, together with the agent, so that its lock remains."""
    with open(rig.base / "source" / "big", "wb") as file:
        file.write(os.urandom(24 * 1024 * 1024))
    slow = f'if [ "$1" = backup ]; then exec {rig.program} "$@" --limit-upload 512 --pack-size 4; fi'
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\n{slow}\nexec {rig.program} "$@"\n')
    path.chmod(0o755)
    child = rig.spawn()
    order = rig.order()
    rig.server.connected().send(order)
    until(rig.locks)
    until(lambda: Ledger(rig.paths.state / "restics.json").entries())
    words = (rig.paths.jobs / order.job_id / "pid").read_text().split()
    child.kill()
    child.wait()
    os.kill(int(words[0]), signal.SIGKILL)
    until(lambda: linux.start_time(int(words[2])) is None)
    path.write_text(f'#!/bin/sh\nexec {rig.program} "$@"\n')
    (rig.base / "source" / "big").unlink()


@pytest.mark.restic
def test_a_lock_that_the_agents_own_dead_restic_left_is_removed_with_the_proof(
    rig: Rig, repository: Path, program: str
) -> None:
    crashed_backup(rig)
    assert len(rig.locks()) == 1

    rig.start()
    rig.server.wait_for("job.finished")
    result = finished(rig, rig.order("prune"))

    first = rig.server.all("job.finished")[0].payload
    proofs = [proof for one in (first, result) for proof in one.summary.get("lock_proofs", [])]
    assert (first.outcome, result.outcome) == ("failed", "succeeded")
    assert len(proofs) == 1
    assert "was the restic that this agent started for job" in proofs[0]
    logged = [line for m in rig.server.all("job.log") for line in m.payload.lines if line.text.startswith("Removed ")]
    assert len(logged) == 1
    assert rig.locks() == []


@pytest.mark.restic
@needs_namespaces
def test_a_proven_lock_goes_alone_when_another_one_that_restic_would_take_for_stale_is_not_ours(
    rig: Rig, repository: Path, program: str
) -> None:
    crashed_backup(rig)
    [own] = rig.locks()
    with held(rig, program, exclusive=False):
        pass
    strangers = set(rig.locks()) - {own}
    assert len(strangers) == 1

    rig.start()
    rig.server.wait_for("job.finished")

    assert set(rig.locks()) == strangers


@pytest.mark.restic
@needs_namespaces
def test_the_lock_of_another_host_is_left_and_its_owner_named(rig: Rig, repository: Path, program: str) -> None:
    saved(rig)
    foreign = forge(rig, program, hostname=OTHERS, exclusive=True)

    result = finished(rig, rig.order(group=waiting_group(1)))

    assert (result.outcome, result.reason) == ("failed", "locked")
    assert f"exclusive lock {foreign[:8]} of {OTHERS}" in result.message
    assert rig.locks() == [foreign]


@pytest.mark.restic
def test_a_backup_waits_for_an_exclusive_lock_says_what_for_and_then_runs(
    rig: Rig, repository: Path, program: str
) -> None:
    saved(rig)
    order = rig.order(group=waiting_group(600))
    rig.start()
    with held(rig, program, exclusive=True) as child:
        rig.server.connected().send(order)
        shown = rig.server.wait_for("job.progress", job_id=order.job_id, phase="waiting").payload
        assert rig.server.all("job.started", job_id=order.job_id)
        assert f"process {child.pid}" in shown.waits_for
        assert "exclusive lock" in shown.waits_for
    # The lock of the killed check remains; nobody has proven anything about it.
    rig.restic("unlock")

    result = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload

    assert result.outcome == "succeeded"
    assert any(line.startswith("waits for the exclusive lock") for line in rig.server.log(order.job_id))
    assert rig.locks() == []


@pytest.mark.restic
def test_a_check_that_has_waited_no_longer_says_so(rig: Rig, repository: Path, program: str) -> None:
    order = rig.order("check", time_box_seconds=600)
    rig.start()
    with held(rig, program, exclusive=False):
        rig.server.connected().send(order)
        rig.server.wait_for("job.progress", job_id=order.job_id, phase="waiting")
    rig.restic("unlock")

    rig.server.wait_for("job.progress", 90, job_id=order.job_id, phase="")

    assert rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload.outcome == "succeeded"


@pytest.mark.restic
@pytest.mark.parametrize("kind", ["prune", "check", "forget"])
def test_what_needs_the_repository_for_itself_waits_for_shared_locks_within_its_time_box(
    rig: Rig, repository: Path, program: str, kind: str
) -> None:
    order = rig.order(kind, source_group="documents", time_box_seconds=2, parameters={"retention": {"keep_last": 1}})
    with held(rig, program, exclusive=False):
        result = finished(rig, order)

        assert len(rig.locks()) == 1

    assert (result.outcome, result.reason) == ("cancelled", "time_box")
    assert "before it began" in result.message


@pytest.mark.restic
def test_a_backup_does_not_wait_for_the_backup_of_another(rig: Rig, repository: Path, program: str) -> None:
    with held(rig, program, exclusive=False):
        result = finished(rig, rig.order(group=waiting_group(600)))

    assert result.outcome == "succeeded"


@pytest.mark.restic
def test_a_waiting_job_can_be_cancelled(rig: Rig, repository: Path, program: str) -> None:
    saved(rig)
    order = rig.order(group=waiting_group(600))
    rig.start()
    with held(rig, program, exclusive=True):
        rig.server.connected().send(order)
        rig.server.wait_for("job.progress", job_id=order.job_id, phase="waiting")

        rig.server.connections[0].send(CommandCancel(job_id=order.job_id))
        result = rig.server.wait_for("job.finished", job_id=order.job_id).payload

    assert (result.outcome, result.reason, result.exit_code) == ("cancelled", "cancelled", None)


@pytest.mark.restic
def test_a_job_that_waited_when_the_agent_died_waits_on_and_runs_once(rig: Rig, repository: Path, program: str) -> None:
    saved(rig)
    order = rig.order(group=waiting_group(600))
    with held(rig, program, exclusive=True):
        child = rig.spawn()
        rig.server.connected().send(order)
        rig.server.wait_for("job.progress", job_id=order.job_id, phase="waiting")
        child.kill()
        child.wait()
        rig.start()
        rig.server.connected(2).send(order)
        rig.server.wait(lambda s: len(s.all("job.started", job_id=order.job_id)) >= 2)
    # The lock of the killed check remains; nobody has proven anything about it.
    rig.restic("unlock")

    result = rig.server.wait_for("job.finished", 90, job_id=order.job_id).payload

    assert result.outcome == "succeeded"
    assert len(json.loads(rig.restic("snapshots", "--json").stdout)) == 2


@pytest.mark.restic
def test_a_lock_that_appears_between_the_look_and_the_start_sends_the_job_back_to_waiting(
    rig: Rig, repository: Path, program: str
) -> None:
    """The first restic finds the repository locked; what it said must not count against the second."""
    body = (
        f'if [ "$1" = backup ] && [ ! -e {rig.base}/once ]; then touch {rig.base}/once;'
        " echo 'unable to create lock in backend: repository is already locked exclusively by PID 1' >&2; exit 1; fi\n"
        f'exec {program} "$@"'
    )
    path = rig.base / "bin" / "restic"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    order = rig.order()

    result = finished(rig, order)

    assert (result.outcome, result.reason) == ("succeeded", "")
    log = rig.server.log(order.job_id)
    assert any("at the last moment" in line for line in log)
    assert sum(line.startswith("$ restic backup") for line in log) == 2


@pytest.mark.restic
@pytest.mark.parametrize("place", ["path", "rest-server"])
def test_a_job_that_waits_sees_within_seconds_that_the_lock_is_gone_however_seldom_restic_looks(
    rig: Rig, repository: Path, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("agent.waiting.FIRST_PAUSE_SECONDS", 3000.0)
    monkeypatch.setattr("agent.waiting.LONGEST_PAUSE_SECONDS", 3000.0)
    saved(rig)
    with ExitStack() as stack:
        if place == "rest-server":
            (tmp_path / ".htpasswd").write_text(tools.htpasswd({"web1": "s3cret"}))
            url = stack.enter_context(tools.rest_server(tmp_path, "--htpasswd-file", str(tmp_path / ".htpasswd")))
            rig.location, rig.username, rig.secret = f"rest:{url}repository/", "web1", "s3cret"
            rig.enrol()
            rig.location = str(repository)
        rig.start()
        order = rig.order(group=waiting_group(3000))
        with held(rig, program, exclusive=True):
            rig.server.connected().send(order)
            rig.server.wait_for("job.progress", job_id=order.job_id, phase="waiting")
        rig.restic("unlock")

        result = rig.server.wait_for("job.finished", 120, job_id=order.job_id).payload

    assert result.outcome == "succeeded", result.message


@pytest.mark.restic
@pytest.mark.parametrize("options", [["--append-only"], []], ids=["append-only", "plain"])
def test_a_single_lock_is_removed_at_a_rest_server_with_the_everyday_credential(
    rig: Rig, repository: Path, tmp_path: Path, program: str, options: list[str]
) -> None:
    (tmp_path / ".htpasswd").write_text(tools.htpasswd({"web1": "s3cret+/x"}))
    with tools.rest_server(tmp_path, "--htpasswd-file", str(tmp_path / ".htpasswd"), *options) as url:
        rig.location, rig.username, rig.secret = f"rest:{url}repository/", "web1", "s3cret+/x"
        rig.enrol()
        local = Path(repository)
        rig.location = str(local)
        crashed_backup(rig)
        [own] = rig.locks()
        with held(rig, program, exclusive=False):
            pass
        strangers = set(rig.locks()) - {own}
        assert len(strangers) == 1

        rig.start()
        rig.server.wait_for("job.finished")

        assert set(rig.locks()) == strangers
