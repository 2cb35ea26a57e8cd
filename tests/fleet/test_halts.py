"""What halts a fleet update, and what a person can do then."""

import pytest

from rm.errors import Conflict, Invalid
from rm.services import fleet_updates
from rm.store import alerts
from rm.store import fleet_updates as store
from rm.store.models import Host, UpdateAttempt
from tests.cast import ALICE
from tests.fleet.conftest import run_to_the_end, table
from tests.fleet.fake_agents import Script
from tests.fleet.rollouts import BAD, GOOD, state


def halt(fleet_update_id):
    return alerts.find_open("fleet_update_halted", f"fleet_update:{fleet_update_id}")


def test_the_first_failure_halts_and_the_rest_stays(fleet_of, begin):
    fleet = fleet_of(web1=GOOD, web2=BAD, web3=GOOD)
    run = begin(fleet)

    run_to_the_end(fleet, run)

    assert state(run) == "halted"
    assert table(run) == {"web1": "succeeded", "web2": "failed", "web3": "waiting"}
    assert "web2" in halt(run).message and halt(run).host_id == "id-web2"
    assert fleet.swapped == {"id-web1": 1, "id-web2": 1}


def test_after_a_halt_what_failed_is_retried_and_the_alert_resolved(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD, web2=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)
    fleet.agents["id-web1"].script = GOOD

    with pytest.raises(Conflict) as refused:
        fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet_updates.retry_failed(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)

    assert refused.value.code == "halted"
    assert halt(run) is None
    run_to_the_end(fleet, run)
    assert table(run) == {"web1": "succeeded", "web2": "succeeded"}
    # the host knows this very file as bad, so that it is tried again must be said to it
    assert (
        UpdateAttempt.select().where(UpdateAttempt.host == "id-web1").order_by(UpdateAttempt.job.desc()).get().is_forced
    )


def test_after_a_halt_what_failed_is_skipped_with_a_reason(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD, web2=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    with pytest.raises(Invalid):
        fleet_updates.skip(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason=" ")
    fleet_updates.skip(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="looked at by hand")
    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("completed_with_exceptions", {"web1": "skipped", "web2": "succeeded"})
    assert "looked at by hand" in store.host(run, "id-web1").reason


def test_updated_hosts_are_rolled_back_the_newest_first(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD, web3=BAD)
    run = begin(fleet, soak_seconds=20)
    run_to_the_end(fleet, run)

    fleet_updates.roll_back(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="1.5.0 is bad")
    run_to_the_end(fleet, run)

    back = list(UpdateAttempt.select().where(UpdateAttempt.is_rollback).order_by(UpdateAttempt.job))
    assert {attempt.timers["soak_seconds"] for attempt in back} == {20}
    assert [attempt.host.name for attempt in back] == ["web2", "web1"]
    assert back[0].ended_at <= back[1].created_at
    assert (state(run), table(run)) == ("cancelled", {"web1": "skipped", "web2": "skipped", "web3": "failed"})
    assert {agent.sha256[0] for agent in fleet.agents.values()} == {"0"}
    assert halt(run) is None


def test_a_host_that_cannot_be_rolled_back_is_said_to_stay(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD, web2=BAD)
    run = begin(fleet)
    run_to_the_end(fleet, run)
    Host.update(is_pinned=True).where(Host.name == "web1").execute()

    fleet_updates.roll_back(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="bad")
    run_to_the_end(fleet, run)

    assert state(run) == "cancelled"
    assert store.host(run, "id-web1").reason.startswith("It stays on 1.5.0: web1 is pinned")


def test_there_is_nothing_to_roll_back_before_a_host_was_updated(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    with pytest.raises(Conflict) as refused:
        fleet_updates.roll_back(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="bad")

    assert refused.value.code == "nothing_updated"


def test_a_halt_that_evidence_has_taken_the_reason_from_is_simply_resumed(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(ends="late", hello_after=200), web2=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)
    fleet.run(until=lambda: table(run)["web1"] == "succeeded")

    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert (state(run), fleet.swapped) == ("completed", {"id-web1": 1, "id-web2": 1})


def test_a_wrong_hash_halts_at_once_and_closes_what_has_not_swapped(fleet_of, begin):
    fleet = fleet_of(web1=Script(ends="wrong_hash"), web2=Script(before=60), web3=Script(before=60))
    run = begin(fleet, max_in_flight=3, failure_policy={"budget": 3})

    run_to_the_end(fleet, run)
    for _ in range(10):
        fleet.tick()

    assert state(run) == "halted"
    assert fleet.swapped == {"id-web1": 1}
    assert table(run) == {"web1": "failed", "web2": "waiting", "web3": "waiting"}


def test_trouble_of_the_infrastructure_pauses_when_there_is_a_budget(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(ends="reverts", hello_after=50, reason="unreachable"), web2=GOOD)
    run = begin(fleet, failure_policy={"budget": 1})

    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("paused", {"web1": "failed", "web2": "waiting"})
    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)
    assert state(run) == "completed_with_exceptions"


def test_updated_hosts_that_vanish_halt_the_rest(fleet_of, begin):
    fleet = fleet_of(**{f"web{i}": GOOD for i in range(1, 4)}, web9=Script(busy_until=3600))
    run = begin(fleet)
    fleet.run(until=lambda: list(table(run).values()).count("succeeded") == 3)
    for name in ("web1", "web2"):
        fleet.disconnect(fleet.agents[f"id-{name}"])

    run_to_the_end(fleet, run)

    assert state(run) == "halted"
    assert "2 updated hosts went offline" in halt(run).message


def test_who_goes_on_after_hosts_vanished_is_not_halted_again_for_the_same_hosts(fleet_of, begin, bus):
    fleet = fleet_of(**{f"web{i}": GOOD for i in range(1, 4)}, web9=Script(busy_until=1500))
    run = begin(fleet)
    fleet.run(until=lambda: list(table(run).values()).count("succeeded") == 3)
    for name in ("web1", "web2"):
        fleet.disconnect(fleet.agents[f"id-{name}"])
    run_to_the_end(fleet, run)

    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert state(run) == "completed"
