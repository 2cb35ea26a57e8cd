"""Fleet updates from start to end, with the real services and scripted agents."""

import itertools
from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid
from rm.services import fleet_updates, updates
from rm.services import hosts as host_service
from rm.store import alerts
from rm.store import fleet_updates as store
from rm.store.models import AuditEntry, FleetUpdate, Host, HostTag, Job, UpdateAttempt
from tests.cast import ALICE, NOW
from tests.fleet.conftest import run_to_the_end, table
from tests.fleet.fake_agents import Script, add_release

GOOD = Script()
BAD = Script(ends="reverts", hello_after=20)


def state(fleet_update_id):
    return FleetUpdate.get_by_id(fleet_update_id).state


def halt(fleet_update_id):
    return alerts.find_open("fleet_update_halted", f"fleet_update:{fleet_update_id}")


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


def test_a_halt_that_evidence_has_taken_the_reason_from_is_simply_resumed(fleet_of, begin, bus):
    fleet = fleet_of(web1=Script(ends="late", hello_after=200), web2=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)
    fleet.run(until=lambda: table(run)["web1"] == "succeeded")

    fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
    run_to_the_end(fleet, run)

    assert (state(run), fleet.swapped) == ("completed", {"id-web1": 1, "id-web2": 1})


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


def test_canaries_are_committed_before_the_first_wave_starts(fleet_of, begin):
    fleet = fleet_of(**{f"web{i}": GOOD for i in range(6)})
    run = begin(fleet, canaries=1, waves=[2], max_in_flight=2)

    run_to_the_end(fleet, run)

    attempts = {row.host.name: row for row in UpdateAttempt.select()}
    assert all(attempts["web0"].ended_at <= row.created_at for name, row in attempts.items() if name != "web0")
    first = [attempts["web1"], attempts["web2"]]
    rest = [attempts[f"web{i}"] for i in range(3, 6)]
    assert max(row.ended_at for row in first) <= min(row.created_at for row in rest)


# ---- planning ---------------------------------------------------------------------------------------


def test_a_plan_gives_every_host_a_verdict_and_starts_nothing(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, pinned=GOOD, held=GOOD, asleep=GOOD, current=GOOD)
    Host.update(is_pinned=True).where(Host.name == "pinned").execute()
    Host.update(held_reason="in use").where(Host.name == "held").execute()
    Host.update(agent_seq=2).where(Host.name == "current").execute()
    fleet.disconnect(fleet.agents["id-asleep"])

    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    fleet.tick()

    assert {row.host.name: row.verdict for row in store.list_hosts(found.id)} == {
        "web1": "will_update", "pinned": "pinned", "held": "held", "asleep": "offline", "current": "current",
    }  # fmt: skip
    assert (found.state, found.estimate_seconds) == ("planned", 65)
    assert UpdateAttempt.select().count() == 0


def test_an_offline_host_that_runs_the_release_is_current(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    fleet.disconnect(fleet.agents["id-web1"])
    Host.update(agent_seq=2).execute()

    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)

    assert store.host(found.id, "id-web1").verdict == "current"


def test_tags_and_ids_choose_hosts(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD, db1=GOOD)
    HostTag.create(host="id-web1", tag="web")
    HostTag.create(host="id-web2", tag="web")

    by_tag = fleet_updates.preview({"tags": ["web"]}, now=fleet.now)
    by_id = fleet_updates.preview({"tags": ["web"], "host_ids": ["id-web2"]}, now=fleet.now)

    assert [place.name for place in by_tag.places] == ["web1", "web2"]
    assert [place.name for place in by_id.places] == ["web2"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tags": ["nope"]}, "tags"),
        ({"host_ids": ["nope"]}, "host_ids"),
        ({"server_host_id": "nope"}, "server_host_id"),
        ({"canaries": ["nope"]}, "canaries"),
    ],
)
def test_names_that_nobody_has_are_refused(fleet_of, bus, options, field):
    fleet = fleet_of(web1=GOOD)

    with pytest.raises(Invalid) as refused:
        fleet_updates.plan(bus, options=options, actor=ALICE, now=fleet.now)

    assert list(refused.value.fields) == [field]


def test_without_a_current_release_there_is_no_plan(app, bus):
    with pytest.raises(Conflict) as refused:
        fleet_updates.plan(bus, options={}, actor=ALICE, now=NOW)

    assert refused.value.code == "no_release"


def test_starting_says_what_changed_since_the_plan(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    Host.update(is_pinned=True).where(Host.name == "web2").execute()

    with pytest.raises(Conflict) as refused:
        fleet_updates.start(bus, fleet_update_id=found.id, actor=ALICE, now=fleet.now)
    started = fleet_updates.start(bus, fleet_update_id=found.id, actor=ALICE, now=fleet.now, accepts_changes=True)

    assert refused.value.code == "plan_changed"
    assert "web2: to be updated then, pinned now." in refused.value.message
    assert (started.state, table(found.id)) == ("running", {"web1": "waiting", "web2": "excluded"})


def test_another_release_than_the_planned_one_is_a_change(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    add_release(NOW, seq=3, version="1.6.0", sha256="3" * 64)

    assert fleet_updates.differences(found.id, now=fleet.now) == ["The current release is 1.6.0 now, not 1.5.0."]


def test_a_host_that_only_went_offline_does_not_spoil_the_plan(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    fleet.disconnect(fleet.agents["id-web1"])

    assert fleet_updates.differences(found.id, now=fleet.now) == []


def test_only_one_fleet_update_is_open_at_a_time_even_when_halted(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    with pytest.raises(Conflict) as refused:
        begin(fleet)

    assert (state(run), refused.value.code) == ("halted", "active")


def test_old_plans_do_not_pile_up(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)

    for _ in range(25):
        fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)

    assert FleetUpdate.select().count() == 20


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


def test_past_fleet_updates_are_kept_the_newest_first(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD)
    first = begin(fleet)
    run_to_the_end(fleet, first)
    second = begin(fleet)
    run_to_the_end(fleet, second)

    assert [found.id for found in fleet_updates.list_past()] == [second, first]


def test_an_ended_fleet_update_cannot_be_steered(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    for steer in (fleet_updates.pause, fleet_updates.resume, fleet_updates.cancel, fleet_updates.close):
        with pytest.raises(Conflict) as refused:
            steer(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
        assert refused.value.code == "over"
