"""Fleet updates that people pause, cancel and answer for."""

import pytest

from rm.errors import Conflict
from rm.services import fleet_updates
from rm.store.models import AuditEntry, UpdateAttempt
from tests.cast import ALICE
from tests.fleet.conftest import run_to_the_end, table
from tests.fleet.fake_agents import Script
from tests.fleet.rollouts import BAD, GOOD, state


def test_while_paused_nothing_starts_and_who_swapped_finishes(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD)
    run = begin(fleet)
    fleet.run(until=lambda: fleet.swapped["id-web1"] == 1)

    fleet_updates.pause(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="lunch")
    for _ in range(20):
        fleet.tick()

    assert table(run) == {"web1": "succeeded", "web2": "waiting"}
    assert UpdateAttempt.select().count() == 1
    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)
    assert state(run) == "completed"


def test_a_host_before_the_fence_is_not_let_through_while_paused_and_comes_later(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(before=30))
    run = begin(fleet)
    fleet.tick()

    fleet_updates.pause(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    for _ in range(5):
        fleet.tick()

    assert (fleet.swapped, table(run)) == ({}, {"web1": "waiting"})
    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)
    assert (state(run), fleet.swapped["id-web1"]) == ("completed", 1)


def test_a_soft_cancel_lets_the_current_host_finish(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(before=20), web2=GOOD)
    run = begin(fleet)
    fleet.tick()

    fleet_updates.cancel(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("cancelled", {"web1": "succeeded", "web2": "skipped"})


def test_a_hard_cancel_takes_back_what_has_not_swapped(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(before=20), web2=GOOD)
    run = begin(fleet)
    fleet.tick()

    fleet_updates.cancel(bus, fleet_update_id=run, mode="hard", actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("cancelled", {"web1": "skipped", "web2": "skipped"})
    assert not fleet.swapped
    assert UpdateAttempt.get().state == "cancelled"


def test_a_soft_cancel_can_be_made_a_hard_one(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(before=20))
    run = begin(fleet)
    fleet.tick()

    fleet_updates.cancel(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet_updates.cancel(bus, fleet_update_id=run, mode="hard", actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert not fleet.swapped


def test_every_step_of_a_person_is_audited(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD, web2=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)
    fleet_updates.skip(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="known")
    fleet_updates.pause(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet_updates.cancel(bus, fleet_update_id=run, mode="hard", actor=ALICE, now=fleet.now)

    entries = [entry.action for entry in AuditEntry.select().where(AuditEntry.target_kind == "fleet_update")]
    assert entries == [
        "fleet_update.started", "fleet_update.halted", "fleet_update.skipped", "fleet_update.paused",
        "fleet_update.resumed", "fleet_update.cancelled_hard",
    ]  # fmt: skip


def test_an_ended_fleet_update_cannot_be_steered(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    for steer in (fleet_updates.pause, fleet_updates.resume, fleet_updates.cancel, fleet_updates.close):
        with pytest.raises(Conflict) as refused:
            steer(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
        assert refused.value.code == "over"
