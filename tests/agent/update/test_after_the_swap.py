"""What may happen from the swap on, and going back, with a real agent under the real guard."""

import json
import os
import signal
from pathlib import Path

import pytest

from agent.update.trust import FloorFile
from rm.shared.protocol import Message
from tests.agent.conftest import until
from tests.agent.update.machine import TIMERS, Machine, UpdateServer, Workshop, wait_until_over

pytestmark = pytest.mark.timeout(150)

LONG_SOAK = TIMERS | {"soak_seconds": 60}


def committed(machine: Machine, releases: UpdateServer, seq: int) -> str:
    """Update the machine to that release; its artifact."""
    release = releases.offer(machine.workshop.release(seq))
    attempt = machine.send(machine.order(release))
    assert releases.outcome(attempt)[0] == "committed"
    wait_until_over(machine)
    releases.wait(lambda s: s.connections[-1].closed.is_set() is False)
    return release.artifact_sha256


def next_hello(releases: UpdateServer) -> Message:
    """What the agent says after its connection was cut once more."""
    seen = len(releases.all("hello"))
    releases.connections[-1].cut()
    found: list[Message] = releases.wait(lambda s: s.all("hello")[seen:])
    return found[0]


def test_a_power_cut_between_the_decision_and_the_swap_changes_nothing(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    order = machine.order(release)
    releases.fence = lambda message: None
    machine.send(order)
    releases.wait_for("update.progress", phase="swapping")
    machine.crash()
    journal = machine.update / "update.json"
    facts = json.loads(journal.read_text())
    facts["attempt"]["phase"] = "swapping"
    journal.write_text(json.dumps(facts))
    trial = f"attempt={order.attempt_id}\nfrom={machine.live()}\nto={release.artifact_sha256}\nboots=0\nlimit_s=6\n"
    (machine.update / "trial").write_text(trial)

    machine.start()

    assert releases.outcome(order.attempt_id) == ("deferred", "swapping", "interrupted")
    assert machine.live() == workshop.release(1).artifact_sha256
    assert machine.is_over()


def test_a_power_cut_right_after_the_rename_is_a_trial_like_any_other(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release, timers=LONG_SOAK | {"soak_seconds": 5}))
    until(lambda: machine.live() == release.artifact_sha256, seconds=60)

    machine.crash()
    machine.start()

    assert releases.outcome(attempt)[0] == "committed"
    assert machine.live() == release.artifact_sha256


def test_a_good_release_commits_although_its_trial_was_damaged(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release, timers=LONG_SOAK | {"soak_seconds": 5}))
    until(lambda: machine.live() == release.artifact_sha256, seconds=60)
    machine.crash()
    (machine.update / "trial").write_text("\0 damaged")

    machine.start()

    assert releases.outcome(attempt)[0] == "committed"
    assert machine.live() == release.artifact_sha256
    wait_until_over(machine)


def test_a_bad_release_whose_trial_was_damaged_is_put_back_and_told(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2, "sys.exit(1)"))
    machine.start()
    attempt = machine.send(machine.order(release, timers=LONG_SOAK))
    until(lambda: machine.live() == release.artifact_sha256, seconds=60)
    machine.crash()
    (machine.update / "trial").write_text("\0 damaged")

    machine.start()

    assert releases.outcome(attempt, seconds=60) == ("rolled_back", "trial", "unreadable")
    assert machine.live() == workshop.release(1).artifact_sha256


def test_reboots_in_a_trial_are_not_the_releases_fault(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release, timers=LONG_SOAK))
    for count in range(2, 7):
        releases.wait(lambda s, n=count: len([h for h in s.all("hello") if h.payload.agent_seq == 2]) >= n - 1, 60)
        machine.stop()
        assert machine.live() == release.artifact_sha256
        assert not releases.results(attempt)
        machine.start()

    assert "boots=1" in (machine.update / "trial").read_text()


def test_a_new_release_that_is_killed_in_its_soak_starts_it_again(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release, timers=LONG_SOAK | {"soak_seconds": 3}))
    releases.wait_for("update.progress", phase="soaking", seconds=60)

    os.kill(machine.agent_pid(), signal.SIGKILL)

    assert releases.outcome(attempt)[0] == "committed"
    assert len([h for h in releases.all("hello") if h.payload.agent_seq == 2]) == 2


def test_an_outcome_is_told_until_it_is_acknowledged(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2, "sys.exit(1)"))
    releases.acks = lambda message: message.type != "update.result"
    machine.start()
    attempt = machine.send(machine.order(release))
    releases.wait(lambda s: s.results(attempt), 60)

    machine.stop()
    machine.start()
    releases.wait(lambda s: len(s.results(attempt)) >= 2)
    last = releases.wait(lambda s: [h for h in s.all("hello") if h.payload.update][-1:])[0].payload

    assert (last.update["attempt_id"], last.update["outcome"]) == (attempt, "rolled_back")
    assert len({m.id for m in releases.results(attempt)}) == 1
    releases.acks = lambda message: True
    releases.connections[-1].cut()
    releases.wait(lambda s: len(s.results(attempt)) >= 3)
    # The answer may still be on its way when a connection ends.
    until(lambda: next_hello(releases).payload.update is None, seconds=60)


def test_a_server_that_restarts_in_the_trial_finds_the_release_committed(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release, timers=TIMERS | {"soak_seconds": 3}))
    releases.wait_for("update.progress", phase="soaking", seconds=60)

    releases.connections[-1].cut()

    assert releases.outcome(attempt)[0] == "committed"
    assert not list((machine.update / "bad").glob("*"))


def test_one_can_go_back_once_and_the_floor_stays(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    before = machine.live()
    machine.start()
    releases.connected()
    later = committed(machine, releases, 2)

    attempt = machine.send(machine.rollback_order(before))

    assert releases.outcome(attempt)[0] == "committed"
    assert machine.live() == before
    floor = FloorFile(machine.update).load()
    assert floor is not None
    assert (floor.seq, floor.sha256, floor.previous) == (2, later, None)
    wait_until_over(machine)
    again = machine.send(machine.rollback_order(later))
    assert releases.outcome(again) == ("refused", "accepted", "no_previous")
    old = releases.offer(workshop.release(1))
    assert releases.outcome(machine.send(machine.order(old)))[::2] == ("committed", "already_running")


def test_a_release_one_went_back_to_that_does_not_start_brings_the_later_one_back(
    tmp_path: Path, releases: UpdateServer, workshop: Workshop
) -> None:
    fault = "import os\nif os.path.exists(sys.argv[2] + '/no-more'): sys.exit(1)"
    machine = Machine(tmp_path / "other", releases, workshop).make(1, fault=fault)
    try:
        before = machine.live()
        machine.start()
        releases.connected()
        later = committed(machine, releases, 2)
        (machine.root / "no-more").touch()

        attempt = machine.send(machine.rollback_order(before))

        assert releases.outcome(attempt, 60)[::2] == ("rolled_back", "boots")
        assert machine.live() == later
    finally:
        machine.close()


def test_the_owner_goes_back_through_the_running_agent_without_the_server(
    machine: Machine, releases: UpdateServer
) -> None:
    before = machine.live()
    machine.start()
    releases.connected()
    committed(machine, releases, 2)
    releases.fence = lambda message: None

    done = machine.say("rollback")

    assert done.returncode == 0, done.stderr
    until(lambda: machine.live() == before, 60)
    releases.wait(lambda s: s.all("hello")[-1].payload.agent_seq == 1 and s.all("update.progress", phase="soaking")[1:])


def test_the_owner_goes_back_while_the_agent_is_stopped(machine: Machine, releases: UpdateServer) -> None:
    before = machine.live()
    machine.start()
    releases.connected()
    committed(machine, releases, 2)
    machine.stop()

    done = machine.say("rollback")

    assert done.returncode == 0, done.stderr
    assert machine.live() == before
    assert not machine.is_over()
    journal = machine.update / "update.json"
    journal.write_text(journal.read_text().replace('"local": true', '"local": true, "timers": {"soak_seconds": 0}'))
    machine.start()
    releases.wait(lambda s: s.all("update.result", outcome="committed")[1:], 60)
    wait_until_over(machine)


def test_the_next_release_can_follow_and_the_one_before_is_then_what_is_kept(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    machine.start()
    releases.connected()
    second = committed(machine, releases, 2)

    committed(machine, releases, 3)

    assert machine.left() == {"rm-agent.old"}
    floor = FloorFile(machine.update).load()
    assert floor is not None and floor.previous is not None
    assert floor.previous.sha256 == second
    assert machine.program.with_name("rm-agent.old").read_bytes() == workshop.agent(2).read_bytes()
