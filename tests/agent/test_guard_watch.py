"""`rm-agent-guard watch`: the time limit of a trial, counted in ticks in which the host was awake."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.conftest import until
from tests.agent.guarded import ATTEMPT, EARLIER, GUARD, LATER, SHELLS, Guarded

ANOTHER = "01JD00000000000000000000ZZ"
TICK = "0.05"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Guarded]:
    """A host on which the update has just been swapped in."""
    found = Guarded(tmp_path / "a host", SHELLS[0]).make()
    found.arm()
    found.swap()
    yield found
    found.close()


def restart(host: Guarded, *then: str) -> str:
    """A command in the place of systemctl, which notes that it was called."""
    path = host.root.parent / "restart"
    path.write_text("\n".join(["#!/bin/sh", f"echo >> '{host.root}/restarts'", *then, ""]))
    path.chmod(0o755)
    return str(path)


def restarts(host: Guarded) -> int:
    path = host.root / "restarts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("shell", SHELLS)
def test_past_its_limit_the_agent_is_restarted_and_so_reverted(host: Guarded, shell: str) -> None:
    host.shell = shell
    host.arm(limit_s=1)

    watch = host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host, f"'{GUARD}' --root '{host.root}' check"))

    assert watch.wait(30) == 0
    assert (host.program.read_bytes(), restarts(host)) == (EARLIER, 1)
    assert host.facts("reverted") == host.reverted("expired", bad=1)
    assert "not committed after its 1 s" in host.said()


def test_a_tick_is_two_seconds(host: Guarded) -> None:
    host.arm(limit_s=3)
    clock = host.clock("2")
    # Nobody tells the guard how long a tick is, and only a sleep of two seconds is one to the clock.
    watch = host.watch(PATH=clock.environ["PATH"], RM_RESTART=restart(host, f"rm '{host.update}/trial'"))

    clock.let_pass(1)
    assert restarts(host) == 0
    clock.let_pass(1, is_last=True)

    assert watch.wait(30) == 0
    assert (restarts(host), clock.other_sleeps()) == (1, [])
    assert (host.update / "expired").read_text() == f"{ATTEMPT}\n"


def test_a_host_that_has_said_hello_has_until_the_commits_limit(host: Guarded) -> None:
    host.arm(limit_s=1, commit_s=2)
    host.tell("hello", "yes")
    clock = host.clock("0.1")
    watch = host.watch(**clock.environ, RM_RESTART=restart(host, f"rm '{host.update}/trial'"))

    clock.let_pass(19)
    assert restarts(host) == 0
    clock.let_pass(1, is_last=True)

    assert watch.wait(30) == 0
    assert restarts(host) == 1


def test_without_a_server_the_agent_may_take_the_longer_limit_it_has_written(host: Guarded) -> None:
    host.arm(limit_s=1)
    host.tell("limit_s", "2")
    clock = host.clock("0.1")
    watch = host.watch(**clock.environ, RM_RESTART=restart(host, f"rm '{host.update}/trial'"))

    clock.let_pass(19)
    assert restarts(host) == 0
    clock.let_pass(1, is_last=True)

    assert watch.wait(30) == 0
    assert restarts(host) == 1


def test_a_hello_after_a_long_time_without_a_server_is_not_too_late_to_commit(host: Guarded) -> None:
    host.arm(limit_s=60, commit_s=600)
    host.tell("limit_s", "900")
    host.tell("hello", "yes")
    host.tell("ticks", f"14000 {ATTEMPT}")

    host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host))

    until(lambda: host.ticks() >= 14005)
    assert restarts(host) == 0


@pytest.mark.parametrize("word", ["", "x", "-1", "99999999999"])
def test_a_limit_that_is_no_number_counts_as_not_written(host: Guarded, word: str) -> None:
    host.arm(limit_s=1)
    host.tell("limit_s", word)

    assert host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host, f"rm '{host.update}/trial'")).wait(30) == 0

    assert restarts(host) == 1


def test_an_agent_that_asks_for_its_revert_and_does_not_end_is_restarted(host: Guarded) -> None:
    host.tell("ask_revert", "health")

    host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host, f"rm '{host.update}/trial'")).wait(30)

    assert host.ticks() == 10
    assert "expired" not in host.left()


def test_a_restart_that_does_nothing_is_tried_again(host: Guarded) -> None:
    host.arm(limit_s=0)

    host.watch(RM_GUARD_TICK="0.02", RM_RESTART=restart(host))

    until(lambda: restarts(host) >= 3)


def test_it_ends_with_the_trial_and_needs_no_restart(host: Guarded) -> None:
    watch = host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host))
    until(lambda: host.ticks() >= 2)

    (host.update / "trial").unlink()

    assert (watch.wait(30), restarts(host)) == (0, 0)


def test_it_counts_on_where_an_earlier_watch_ended(host: Guarded) -> None:
    clock = host.clock()
    first = host.watch(**clock.environ)
    clock.let_pass(5)
    first.kill()
    first.wait()
    counted = host.ticks()

    later = host.clock()
    host.watch(**later.environ)
    later.let_pass(1)

    assert (counted, host.ticks()) == (5, 6)


@pytest.mark.parametrize("ticks", [f"9999 {ANOTHER}", "9999", "", f"x {ATTEMPT}"])
def test_the_ticks_of_another_attempt_do_not_count(host: Guarded, ticks: str) -> None:
    host.tell("ticks", ticks)
    host.tell("expired", ANOTHER)

    host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host))

    until(lambda: 3 <= host.ticks() < 9999)
    assert restarts(host) == 0


def test_time_in_which_the_host_was_suspended_does_not_count(host: Guarded) -> None:
    clock = host.clock()
    watch = host.watch(**clock.environ, RM_RESTART=restart(host))
    clock.let_pass(2)

    # Twice as long as a tick, and the sleep that is going on lasts as long as that.
    os.killpg(watch.pid, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1)
    os.killpg(watch.pid, signal.SIGCONT)
    clock.let_pass(1)

    assert host.ticks() == 3


def test_after_an_ordered_stop_nobody_waits_for_the_agent(host: Guarded) -> None:
    clock = host.clock()
    host.watch(**clock.environ, RM_RESTART=restart(host))
    clock.let_pass(2)
    host.tell("stop_ordered", "yes")

    clock.let_pass(10)

    assert host.ticks() == 2
    (host.update / "stop_ordered").unlink()
    clock.let_pass(1)
    assert host.ticks() == 3


def test_a_committed_agent_is_not_restarted_and_the_watch_ends(host: Guarded) -> None:
    host.arm(limit_s=0)
    host.tell("committed", host.facts("trial")["to"])

    watch = host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host))

    assert watch.wait(30) == 0
    assert (restarts(host), host.program.read_bytes(), host.left()) == (0, LATER, set())


def test_a_trial_that_cannot_be_read_has_a_limit_too(host: Guarded) -> None:
    host.arm(limit_s=1)
    host.tell("trial", "\0garbage")
    host.watch(RM_GUARD_TICK="0.5", RM_RESTART=restart(host))

    until(lambda: host.ticks() >= 2)

    assert "unreadable" in (host.update / "ticks").read_text()


def test_the_limit_holds_where_the_ticks_cannot_be_written(host: Guarded) -> None:
    host.arm(limit_s=1)
    (host.update / ".watch.new").mkdir()

    host.watch(RM_GUARD_TICK=TICK, RM_RESTART=restart(host, f"rm '{host.update}/trial'")).wait(30)

    assert (restarts(host), host.left()) == (1, set())
