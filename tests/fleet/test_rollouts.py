"""Fleet updates from start to end, with the real services and scripted agents."""

import itertools
from datetime import timedelta

import pytest

from rm.errors import Conflict
from rm.services import fleet_updates, updates
from rm.services import hosts as host_service
from rm.store.models import Job, UpdateAttempt
from tests.cast import ALICE, NOW
from tests.fleet.conftest import run_to_the_end, table
from tests.fleet.fake_agents import Script
from tests.fleet.rollouts import GOOD, state


def test_one_host_after_the_other_is_brought_to_the_release(fleet_of, begin):
    fleet = fleet_of(web1=GOOD, web2=GOOD, web3=GOOD)
    run = begin(fleet)

    run_to_the_end(fleet, run)

    assert state(run) == "completed"
    assert set(table(run).values()) == {"succeeded"}
    assert fleet.most_in_flight == 1
    assert fleet.now - NOW >= timedelta(seconds=3 * 64)
    attempts = list(UpdateAttempt.select().order_by(UpdateAttempt.job))
    assert all(later.created_at >= one.ended_at for one, later in itertools.pairwise(attempts))


def test_an_offline_host_waits_and_is_updated_when_it_returns(fleet_of, begin):
    fleet = fleet_of(web1=GOOD, laptop=GOOD)
    fleet.disconnect(fleet.agents["id-laptop"])
    run = begin(fleet)
    fleet.at(3600, lambda: fleet.connect(fleet.agents["id-laptop"]))

    run_to_the_end(fleet, run)

    assert (state(run), set(table(run).values())) == ("completed", {"succeeded"})
    assert fleet.now - NOW > timedelta(hours=1)


def test_a_run_that_waits_only_for_offline_hosts_can_be_closed(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD, laptop=GOOD)
    fleet.disconnect(fleet.agents["id-laptop"])
    run = begin(fleet)

    with pytest.raises(Conflict) as refused:
        fleet_updates.close(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet.run(until=lambda: table(run)["web1"] == "succeeded")
    fleet_updates.close(bus, fleet_update_id=run, actor=ALICE, now=fleet.now, reason="it is away")

    assert refused.value.code == "hosts_left"
    assert (state(run), table(run)["laptop"]) == ("completed_with_exceptions", "skipped")
    fleet.connect(fleet.agents["id-laptop"])
    fleet.tick()
    assert not fleet.swapped["id-laptop"]


def test_a_busy_host_is_passed_over_and_returns(fleet_of, begin):
    fleet = fleet_of(web1=Script(busy_until=300), web2=GOOD, web3=GOOD)
    run = begin(fleet)
    fleet.run(until=lambda: table(run)["web2"] == "succeeded")

    assert table(run)["web1"] == "passed_over"
    run_to_the_end(fleet, run)
    assert (state(run), set(table(run).values())) == ("completed", {"succeeded"})


def test_a_host_that_is_known_to_run_a_job_is_not_even_ordered_before_the_others(fleet_of, begin):
    fleet = fleet_of(web1=GOOD, web2=GOOD)
    Job.create(
        id="0" * 26, host="id-web1", kind="backup", state="running", requested_by="", created_at=NOW,
        dispatched_at=NOW, last_sign_at=NOW, expires_at=NOW + timedelta(days=1),
    )  # fmt: skip
    run = begin(fleet)

    fleet.run(until=lambda: table(run)["web2"] == "updating")

    assert table(run)["web1"] == "passed_over"
    assert UpdateAttempt.select().where(UpdateAttempt.host == "id-web1").count() == 0
    assert "runs a job" in fleet_updates.explain(fleet_update_id=run, host_id="id-web1", now=fleet.now)


def test_a_host_busy_for_hours_is_put_off_with_one_attempt_and_never_halts(fleet_of, begin):
    fleet = fleet_of(web1=Script(busy_until=4 * 3600), web2=GOOD)
    run = begin(fleet)

    run_to_the_end(fleet, run)

    assert (state(run), set(table(run).values())) == ("completed", {"succeeded"})
    assert UpdateAttempt.select().where(UpdateAttempt.host == "id-web1").count() == 1


@pytest.mark.parametrize("hours", [2, 24])
def test_a_host_that_drops_in_its_download_is_updated_when_it_returns(fleet_of, begin, hours):
    fleet = fleet_of(web1=Script(drops_in_download=True, away_seconds=hours * 3600), asleep=GOOD)
    fleet.disconnect(fleet.agents["id-asleep"])
    fleet.at((hours + 1) * 3600, lambda: fleet.connect(fleet.agents["id-asleep"]))
    run = begin(fleet, failure_policy={"budget": 1})
    fleet.run(until=lambda: table(run)["web1"] == "failed")

    run_to_the_end(fleet, run)

    assert (state(run), set(table(run).values())) == ("completed", {"succeeded"})


@pytest.mark.parametrize("seconds", [89, 91, 200])
def test_a_slow_host_is_judged_at_90_seconds_and_corrected_by_evidence(fleet_of, begin, seconds):
    fleet = fleet_of(web1=Script(ends="late", hello_after=seconds), web2=GOOD)
    run = begin(fleet)

    run_to_the_end(fleet, run)
    verdict = state(run)
    for _ in range(20):
        fleet.tick()

    assert verdict == ("completed" if seconds < 90 else "halted")
    assert table(run)["web1"] == "succeeded"
    assert table(run)["web2"] == ("succeeded" if seconds < 90 else "waiting")


def test_evidence_corrects_a_fleet_update_that_has_ended(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(ends="late", hello_after=200))
    run = begin(fleet)
    run_to_the_end(fleet, run)
    fleet_updates.cancel(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    fleet.run(until=lambda: state(run) == "cancelled")
    fleet.run(until=lambda: UpdateAttempt.get().state in ("soaking", "succeeded"))
    fleet.run(until=lambda: UpdateAttempt.get().state == "succeeded")

    assert table(run) == {"web1": "failed"}
    assert fleet_updates.correct_past(bus, now=fleet.now) == 1
    assert table(run) == {"web1": "succeeded"}


def test_a_host_that_its_owner_pins_meanwhile_is_left_out(fleet_of, begin):
    fleet = fleet_of(web1=Script(is_refused="pinned"), web2=GOOD)
    run = begin(fleet)

    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("completed", {"web1": "excluded", "web2": "succeeded"})


def test_a_host_that_is_removed_in_the_middle_holds_up_nobody(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD)
    run = begin(fleet)
    fleet.run(until=lambda: fleet.swapped["id-web1"] == 1)

    host_service.remove(bus, host_id="id-web1", typed_name="web1", actor=ALICE, now=fleet.now)
    agent = fleet.agents.pop("id-web1")
    fleet._queue = [one for one in fleet._queue if agent.name not in str(one[2])]
    fleet._queue.clear()
    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("completed", {"web2": "succeeded"})


def test_an_update_that_a_person_cancels_leaves_its_host_out(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(before=30), web2=GOOD)
    run = begin(fleet)
    fleet.tick()

    updates.cancel(bus, job_id=UpdateAttempt.get().job_id, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert (state(run), table(run)) == ("completed_with_exceptions", {"web1": "skipped", "web2": "succeeded"})


def test_canaries_are_committed_before_the_first_wave_starts(fleet_of, begin):
    fleet = fleet_of(**{f"web{i}": GOOD for i in range(6)})
    run = begin(fleet, canaries=1, waves=[2], max_in_flight=2)

    run_to_the_end(fleet, run)

    attempts = {row.host.name: row for row in UpdateAttempt.select()}
    assert all(attempts["web0"].ended_at <= row.created_at for name, row in attempts.items() if name != "web0")
    first = [attempts["web1"], attempts["web2"]]
    rest = [attempts[f"web{i}"] for i in range(3, 6)]
    assert max(row.ended_at for row in first) <= min(row.created_at for row in rest)
