"""What may happen on the way to the swap, with a real agent under the real guard: nothing of it touches the host."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.secrets import SecretsFile
from agent.update.kit import ServerClock
from rm.shared import ids, instants
from rm.shared.protocol import Ack, CommandRun, CommandUpdateCancel, Error, Message, RepositoryConfig
from tests.agent.conftest import until
from tests.agent.update.machine import TIMERS, Machine, UpdateServer, Workshop, real_now

pytestmark = pytest.mark.timeout(150)


def is_untouched(machine: Machine) -> bool:
    """The earlier release runs, nothing lies about, no trial was armed."""
    return (
        machine.live() == machine.workshop.release(1).artifact_sha256
        and machine.left() <= {"rm-agent.old"}
        and machine.is_over()
    )


def test_the_fence_that_is_closed_cancels_the_update(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    releases.fence = lambda message: Error(id=message.id, code="attempt_closed", detail="the fleet update was halted")
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt) == ("cancelled", "selftest", "attempt_closed")
    assert is_untouched(machine)


def test_a_question_whose_answer_was_lost_is_asked_again_after_a_reconnect(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    asked: list[str] = []

    def fence(message: Message) -> Ack | None:
        asked.append(message.id)
        if len(asked) == 1:
            releases.connections[-1].cut()
            return None
        return Ack(id=message.id)

    releases.fence = fence
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt)[0] == "committed"
    assert len(asked) == 2


def test_without_an_answer_nothing_is_swapped(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    release = releases.offer(workshop.release(2))
    releases.fence = lambda message: None
    machine.start()
    ends = instants.to_text(real_now() + timedelta(seconds=20))

    attempt = machine.send(machine.order(release, not_after=ends))

    assert releases.outcome(attempt) == ("cancelled", "selftest", "order_expired")
    assert is_untouched(machine)


def test_a_cancel_before_the_fence_ends_the_update(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    releases.fence = lambda message: None
    machine.start()
    attempt = machine.send(machine.order(release))
    releases.wait_for("update.progress", phase="swapping")

    releases.connections[-1].send(CommandUpdateCancel(attempt_id=attempt))

    assert releases.outcome(attempt) == ("cancelled", "selftest", "cancelled")
    assert is_untouched(machine)


def test_a_cancel_after_the_fence_comes_too_late(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    release = releases.offer(workshop.release(2))
    order = machine.order(release)

    def fence(message: Message) -> Ack:
        releases.connections[-1].send(Ack(id=message.id))
        releases.connections[-1].send(CommandUpdateCancel(attempt_id=order.attempt_id))
        return Ack(id=message.id)

    releases.fence = fence
    machine.start()

    attempt = machine.send(order)

    assert releases.outcome(attempt)[0] == "committed"


KILLED_AT = {
    "while it downloads": "downloading",
    "while the candidate is tested": "selftest",
    "while it waits for the fence": "swapping",
}


@pytest.mark.parametrize("when", KILLED_AT)
def test_an_agent_that_is_killed_carries_on_at_its_next_start(
    machine: Machine, releases: UpdateServer, workshop: Workshop, when: str
) -> None:
    release = releases.offer(workshop.release(2))
    killed: list[int] = []

    def kill(phase: str) -> None:
        if phase == KILLED_AT[when] and not killed:
            killed.append(machine.agent_pid())
            os.kill(killed[0], signal.SIGKILL)

    def slowly(at: int) -> None:
        if at >= 1024 * 512:
            # What came so far must have reached the disk's cache.
            until(lambda: killed or machine.program.with_name("rm-agent.part").stat().st_size >= 256 * 1024)
            kill("downloading")

    def fence(message: Message) -> Ack | None:
        kill("swapping")
        return Ack(id=message.id)

    releases.chunk_delay, releases.fence = slowly, fence
    machine.start()

    attempt = machine.send(machine.order(release))
    if when == "while the candidate is tested":
        releases.wait_for("update.progress", phase="selftest")
        kill("selftest")

    assert releases.outcome(attempt)[0] == "committed"
    assert killed
    assert len(releases.results(attempt)) == 1
    if KILLED_AT[when] == "downloading":
        ranges = [sent for path, sent in releases.asked if path.startswith("/agent/artifact/")]
        assert ranges[0] == ""
        assert int(ranges[-1].removeprefix("bytes=").rstrip("-")) >= 256 * 1024


def test_an_agent_that_ends_again_and_again_during_an_update_gives_it_up(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    releases.fence = lambda message: os.kill(machine.agent_pid(), signal.SIGKILL)
    journal = machine.update / "update.json"
    machine.start()
    attempt = machine.send(machine.order(release))
    until(lambda: '"starts": 1' in journal.read_text() if journal.exists() else False)
    machine.crash()
    journal.write_text(journal.read_text().replace('"starts": 1', '"starts": 5'))

    machine.start()

    assert releases.outcome(attempt)[::2] == ("failed", "agent_restarts")
    assert is_untouched(machine)


TAMPERED: dict[str, tuple[str, str, Callable[[bytes], bytes]]] = {
    "an artifact with one byte changed": ("artifact", "wrong_hash", lambda d: d[:-1] + bytes([d[-1] ^ 1])),
    "a manifest with one byte changed": ("manifest", "manifest_not_ordered", lambda d: d.replace(b"stable", b"stabl3")),
    "a manifest's signature with one byte changed":
        ("manifest.minisig", "manifest_bad_signature", lambda d: _other_digit(d)),
    "a keyset with one byte changed": ("keyset", "keyset_bad_signature", lambda d: d.replace(b"1", b"2", 1)),
    "an artifact with more than it should have": ("artifact", "wrong_size", lambda d: d + b"x"),
}  # fmt: skip


def _other_digit(data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = 40
    lines[1] = lines[1][:at] + (b"A" if lines[1][at : at + 1] != b"A" else b"B") + lines[1][at + 1 :]
    return b"\n".join(lines)


@pytest.mark.parametrize("what", TAMPERED)
def test_tampered_bytes_never_run(machine: Machine, releases: UpdateServer, workshop: Workshop, what: str) -> None:
    name, reason, change = TAMPERED[what]
    release = releases.offer(workshop.release(2))
    releases.tampers[name] = change
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt) == ("failed", "verifying", reason)
    assert is_untouched(machine)
    assert "swapping" not in releases.phases(attempt)


def test_a_truncated_artifact_is_not_taken(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    whole = workshop.release(2).artifact
    release = releases.offer(workshop.release(2, artifact=whole[: len(whole) // 2]))
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt)[:2] == ("failed", "selftest")
    assert is_untouched(machine)


def test_a_candidate_that_is_another_release_than_it_was_signed_as_is_not_taken(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(3, artifact=workshop.release(2).artifact))
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt) == ("failed", "selftest", "selftest_wrong_release")
    assert is_untouched(machine)


def test_an_order_that_comes_twice_is_done_once(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    order = machine.order(release)

    machine.send(order)
    machine.send(order)

    assert releases.outcome(order.attempt_id)[0] == "committed"
    # As long as the first report waits for its answer no second is made.
    until(lambda: machine.send(order) and len(releases.results(order.attempt_id)) > 1)
    assert {m.payload.outcome for m in releases.results(order.attempt_id)} == {"committed"}
    assert len([h for h in releases.all("hello") if h.payload.agent_seq == 2]) == 1


def test_a_running_job_is_waited_for_and_what_comes_meanwhile_runs_after(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    gate = machine.root / "gate"
    restic = machine.program.with_name("restic")
    restic.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo "restic 0.14.0 compiled" && exit 0\n'
        f"while [ ! -e '{gate}' ]; do sleep 0.05; done\nexit 1\n"
    )
    release = releases.offer(workshop.release(2))
    _give_repository(machine)
    machine.start()
    connection = releases.connected()
    first, second = _job(), _job()
    connection.send(first)
    releases.wait_for("job.started", job_id=first.job_id)

    attempt = machine.send(machine.order(release))
    releases.wait_for("update.progress", phase="draining")
    connection.send(second)
    until(lambda: f"{second.job_id}" in str(list(machine.paths.jobs.iterdir())))
    assert not releases.all("job.started", job_id=second.job_id)
    gate.touch()

    assert releases.outcome(attempt)[0] == "committed"
    assert releases.wait_for("job.finished", job_id=second.job_id).payload.outcome == "failed"
    started = releases.received.index(releases.wait_for("job.started", job_id=second.job_id))
    assert started > releases.received.index(releases.hello_of(2))


def test_a_job_that_does_not_end_defers_the_update_and_is_not_interrupted(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    machine.program.with_name("restic").write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo "restic 0.14.0 compiled" && exit 0\nexec sleep 60\n'
    )
    release = releases.offer(workshop.release(2))
    _give_repository(machine)
    machine.start()
    job = _job()
    releases.connected().send(job)
    releases.wait_for("job.started", job_id=job.job_id)
    order = machine.order(release, timers=TIMERS | {"drain_seconds": 1})

    machine.send(order)

    assert releases.outcome(order.attempt_id) == ("deferred", "draining", "busy")
    assert not releases.all("job.finished")
    machine.epoch += 1
    releases.connections[-1].send(machine.order(release, attempt_id=order.attempt_id))
    releases.wait(lambda s: len([p for p in s.all("update.progress") if p.payload.phase == "draining"]) >= 2)


def _give_repository(machine: Machine) -> None:
    file = SecretsFile(machine.paths)
    known = RepositoryConfig(id="repo-1", name="backup", location=str(machine.root / "repository"), password="secret")
    file.save(replace(file.load(), repositories={"repo-1": known}))


def _job() -> CommandRun:
    return CommandRun(job_id=ids.new_ulid(), kind="check", repository_id="repo-1", hostname="web1")


def test_a_host_that_trusts_nobody_says_so_and_fetches_nothing(
    tmp_path: Path, releases: UpdateServer, workshop: Workshop
) -> None:
    machine = Machine(tmp_path / "host", releases, workshop).make(trust=False)
    release = releases.offer(workshop.release(2))
    machine.start()
    try:
        attempt = machine.send(machine.order(release))

        assert releases.outcome(attempt) == ("refused", "preflight", "no_trust")
        assert releases.asked == []
    finally:
        machine.close()


def test_a_host_that_was_asleep_until_the_order_ended_does_not_take_it(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    asleep = threading.Event()
    ends = real_now() + timedelta(seconds=20)
    releases.chunk_delay = lambda at: None if asleep.is_set() else _sleep(machine, asleep, until_after=ends)
    machine.start()

    attempt = machine.send(machine.order(release, not_after=instants.to_text(ends)))

    assert releases.outcome(attempt) == ("failed", "verifying", "order_expired")
    assert is_untouched(machine)


def _sleep(machine: Machine, asleep: threading.Event, *, until_after: datetime) -> None:
    """Agent and guard stand still while time goes on, as on a host whose lid is closed."""
    asleep.set()
    guard = machine.processes[-1].pid
    os.killpg(guard, signal.SIGSTOP)
    until(lambda: real_now() > until_after + timedelta(seconds=1))
    os.killpg(guard, signal.SIGCONT)


def test_the_servers_time_goes_on_while_a_host_is_suspended() -> None:
    since_boot = [100.0]
    clock = ServerClock(lambda: since_boot[0])
    clock.set("2026-11-25T12:00:00.000000Z")

    since_boot[0] += 86_400

    assert clock.now() == instants.from_text("2026-11-26T12:00:00.000000Z")
