"""What the owner of a host can say and see of updates, on the host."""

import json

import pytest

from agent.update.trust import FloorFile, Marks
from tests.agent.conftest import until
from tests.agent.update.machine import Machine, UpdateServer, Workshop, wait_until_over

pytestmark = pytest.mark.timeout(150)
BAD = "b" * 64


def test_a_pin_stays_until_the_owner_takes_it_away(machine: Machine) -> None:
    marks = Marks(machine.update)

    pinned = machine.say("pin")
    assert (pinned.returncode, marks.has(Marks.PINNED)) == (0, True)
    unpinned, again = machine.say("unpin"), machine.say("unpin")

    assert (unpinned.returncode, marks.has(Marks.PINNED)) == (0, False)
    assert "not pinned" in again.stdout


def test_a_bad_release_can_be_forgotten_by_its_hash(machine: Machine) -> None:
    (machine.update / "bad").mkdir()
    (machine.update / "bad" / BAD).touch()

    wrong, done = machine.say("forget-bad", "../trust.json"), machine.say("forget-bad", BAD)

    assert (wrong.returncode, done.returncode) == (1, 0)
    assert "not on the list" in wrong.stderr
    assert not (machine.update / "bad" / BAD).exists()
    assert (machine.update / "trust.json").exists()


def test_without_an_update_there_is_nothing_to_go_back_to(machine: Machine) -> None:
    done = machine.say("rollback")

    assert done.returncode == 1
    assert "within 7 days" in done.stderr


def test_allow_downgrade_is_one_mark(machine: Machine) -> None:
    assert machine.say("allow-downgrade").returncode == 0
    assert Marks(machine.update).has(Marks.ALLOW_DOWNGRADE)


def test_status_and_doctor_say_it_all(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    attempt = machine.send(machine.order(release))
    assert releases.outcome(attempt)[0] == "committed"
    wait_until_over(machine)
    (machine.update / "bad").mkdir()
    (machine.update / "bad" / BAD).touch()
    machine.say("pin")

    text, facts = machine.say("status").stdout, json.loads(machine.say("status", "--json").stdout)["update"]
    doctor = machine.say("doctor").stdout

    for words in ("Release: 0.2.0 (2)", "Lowest release that is taken: 0.2.0 (2)", "Release before: 0.1.0 (1)",
                  "Last update: committed", f"forget-bad {BAD}", "Pinned", "Trusted root keys: "):  # fmt: skip
        assert words in text, text
    assert (facts["seq"], facts["floor"]["seq"], facts["previous"]["seq"], facts["bad"]) == (2, 2, 1, [BAD])
    assert (facts["is_pinned"], facts["highest_seq"], facts["trouble"]) == (True, 2, [])
    assert "updates: release 0.2.0 (2)" in doctor
    assert "pinned" in doctor and BAD in doctor


@pytest.mark.parametrize("name", ["trust.json", "floor.json"])
def test_damage_is_told(machine: Machine, name: str) -> None:
    (machine.update / name).write_text("{")

    assert f"Problem: {machine.update / name} is damaged" in machine.say("status").stdout
    assert "failed   updates" in machine.say("doctor").stdout


def test_the_trial_is_seen_while_it_lasts(machine: Machine, releases: UpdateServer, workshop: Workshop) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    machine.send(machine.order(release, timers={"revert_seconds": 30, "soak_seconds": 30}))
    releases.wait_for("update.progress", phase="soaking", seconds=60)

    text = machine.say("status").stdout

    assert "On trial: " in text and "soaking" in text
    assert "on trial" in machine.say("rollback").stderr


def test_a_first_start_sets_the_floor_and_leaves_the_rest(machine: Machine, releases: UpdateServer) -> None:
    machine.start()
    releases.connected()

    floor = until(lambda: FloorFile(machine.update).load())

    assert (floor.seq, floor.sha256, floor.previous, floor.swaps) == (1, machine.live(), None, [])
