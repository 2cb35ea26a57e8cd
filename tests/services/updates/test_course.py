"""The way of an attempt: sent, sent again, fenced, committed."""

import pytest

from rm.errors import Conflict, Forbidden, NotFound
from rm.events import JobChanged, JobQueued, UpdateChanged
from rm.services import updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandUpdate, CommandUpdateCancel
from rm.store.models import FleetUpdate, Host, Job, UpdateAttempt
from tests.cast import ALICE, BOB, NOW
from tests.services.updates.looking import actions, alert, texts
from tests.updating import MINUTE, SECOND, again, at_target, beats, ends, hangs_up, reports, says_hello, takes_orders


@pytest.fixture
def heard(bus):
    found = []
    bus.on_event(found.append)
    return found


def fleet_update(release, state="running"):
    return FleetUpdate.create(
        id=new_ulid(), state=state, release=release.id, to_version=release.version, to_seq=release.seq,
        created_by="alice", created_at=NOW,
    )  # fmt: skip


def test_an_update_from_the_order_to_the_commit(bus, online, release, attempt, heard):
    [order] = takes_orders(bus, online)
    for at, phase in enumerate(("preflight", "draining", "downloading", "verifying", "selftest", "swapping")):
        reports(bus, online, attempt, phase, now=NOW + 2 * at * SECOND)
    hangs_up(bus, online, now=NOW + 11 * SECOND)
    says_hello(bus, online, now=NOW + 14 * SECOND, **at_target(release))
    ends(bus, online, attempt, "committed", now=NOW + 75 * SECOND)

    done, job = again(attempt), Job.get_by_id(attempt.job_id)
    assert isinstance(order, CommandUpdate)
    assert (order.attempt_id, order.version, order.seq, order.keyset_version) == (attempt.job_id, "0.2.0", 2, 1)
    assert (order.manifest_sha256, order.artifact_sha256) == (release.id, release.artifacts[0]["sha256"])
    assert order.timers == {
        "revert_seconds": 60, "unreachable_seconds": 900, "soak_seconds": 60, "drain_seconds": 1800,
        "download_seconds": 1800,
    }  # fmt: skip
    assert (done.state, done.is_proven, done.is_provisional, done.deadline_at) == ("succeeded", True, False, None)
    assert (job.kind, job.state, job.outcome, job.finished_at) == ("update", "finished", "succeeded", done.ended_at)
    assert actions() == ["update.ordered", "update.sent", "update.swap_allowed", "update.ended"]
    assert {JobChanged, UpdateChanged, JobQueued} <= {type(event) for event in heard}
    assert texts(attempt)[0] == "bob ordered web1 to 0.2.0."
    assert alert() is None


def test_the_job_keeps_in_step_with_its_attempt(bus, online, attempt):
    def job():
        found = Job.get_by_id(attempt.job_id)
        return found.state, found.outcome, found.dispatched_at is not None

    assert job() == ("queued", None, False)
    takes_orders(bus, online)
    assert job() == ("queued", None, True)
    reports(bus, online, attempt, "draining")
    assert job() == ("running", None, True)
    ends(bus, online, attempt, "deferred", reason="busy")
    assert job() == ("queued", None, False)
    assert Job.get_by_id(attempt.job_id).waits_for.startswith("is put off until 2026-11-23 12:05")


def test_a_hello_without_a_hash_is_enough_but_not_proven(bus, online, fenced):
    says_hello(bus, online, agent_version="0.2.0", agent_seq=2, running_sha256=None, now=NOW + 5 * SECOND)

    assert (again(fenced).state, again(fenced).is_proven) == ("succeeded", False)


def test_a_soak_that_the_server_saw_is_enough(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 5 * SECOND, **at_target(release))
    beats(online, now=NOW + 65 * SECOND)

    assert updates.sweep(bus, now=NOW + 94 * SECOND) == 0
    assert updates.sweep(bus, now=NOW + 95 * SECOND) == 1
    assert (again(fenced).state, again(fenced).reason) == ("succeeded", "soak_seen")


def test_a_host_that_left_in_its_soak_is_not_called_well(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 5 * SECOND, **at_target(release))
    hangs_up(bus, online, now=NOW + 20 * SECOND)

    updates.sweep(bus, now=NOW + 96 * SECOND)

    assert (again(fenced).state, again(fenced).reason, again(fenced).is_provisional) == ("failed", "no_result", True)


def test_an_order_is_repeated_until_the_fence_with_the_same_id_and_epoch(bus, online, sent):
    first = updates.orders_for(bus, host_id=online.id, now=NOW)
    says_hello(bus, online, now=NOW + MINUTE)
    second = updates.orders_for(bus, host_id=online.id, now=NOW + MINUTE)
    reports(bus, online, sent, "swapping", now=NOW + 70 * SECOND)

    assert first == second and len(first) == 1
    assert updates.orders_for(bus, host_id=online.id, now=NOW + 70 * SECOND) == []


def test_a_deferred_attempt_is_sent_again_with_its_id_and_a_new_epoch(bus, online, sent):
    ends(bus, online, sent, "deferred", reason="busy")
    assert takes_orders(bus, online) == []

    updates.sweep(bus, now=NOW + 5 * MINUTE)
    [order] = takes_orders(bus, online, now=NOW + 5 * MINUTE)

    assert (order.attempt_id, order.epoch > sent.epoch) == (sent.job_id, True)
    assert alert() is None


def test_epochs_grow_even_after_the_server_was_restored_from_yesterday(bus, online, sent):
    Host.update(update_epoch=0).where(Host.id == online.id).execute()
    UpdateAttempt.delete().execute()

    later = updates.order(bus, host_id=online.id, actor=BOB, now=NOW + MINUTE)

    assert later.epoch > sent.epoch


def test_a_new_order_waits_until_the_host_gave_up_the_cancelled_one(bus, online, sent):
    updates.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)
    hangs_up(bus, online, now=NOW)
    updates.sweep(bus, now=NOW + 90 * SECOND)
    newer = updates.order(bus, host_id=online.id, actor=BOB, now=NOW + 2 * MINUTE)
    says_hello(bus, online, now=NOW + 3 * MINUTE)

    assert takes_orders(bus, online, now=NOW + 3 * MINUTE) == [CommandUpdateCancel(attempt_id=sent.job_id)]
    ends(bus, online, sent, "cancelled", now=NOW + 3 * MINUTE)
    [order] = takes_orders(bus, online, now=NOW + 3 * MINUTE)

    assert order.attempt_id == newer.job_id


@pytest.mark.parametrize("state", ["planned", "paused", "halted", "cancelled", "completed"])
def test_no_host_swaps_while_its_fleet_update_does_not_run(bus, online, release, state):
    fleet = fleet_update(release)
    attempt = updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    takes_orders(bus, online)
    FleetUpdate.update(state=state).execute()

    with pytest.raises(Conflict) as refused:
        reports(bus, online, attempt, "swapping")

    assert refused.value.code == "attempt_closed"
    assert again(attempt).fenced_at is None
    ends(bus, online, attempt, "cancelled", reason="attempt_closed")
    assert (again(attempt).state, alert()) == ("cancelled", None)


@pytest.mark.parametrize("state", ["running", "cancelling"])
def test_a_host_whose_turn_it_is_may_swap(bus, online, release, state):
    fleet = fleet_update(release)
    attempt = updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    takes_orders(bus, online)
    FleetUpdate.update(state=state).execute()

    reports(bus, online, attempt, "swapping")

    assert again(attempt).fenced_at == NOW


def test_a_paused_fleet_update_sends_no_order_and_says_why(bus, online, release):
    fleet = fleet_update(release)
    attempt = updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    FleetUpdate.update(state="paused").execute()

    assert takes_orders(bus, online) == []
    assert Job.get_by_id(attempt.job_id).waits_for == "waits: the fleet update is paused"


def test_a_fleet_update_that_is_being_cancelled_sends_no_order(bus, online, release):
    fleet = fleet_update(release)
    updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    FleetUpdate.update(state="cancelling").execute()

    assert takes_orders(bus, online) == []


def test_a_deferred_attempt_of_a_fleet_update_waits_for_its_worker(bus, online, release):
    fleet = fleet_update(release)
    attempt = updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    takes_orders(bus, online)
    ends(bus, online, attempt, "deferred", reason="busy")

    updates.sweep(bus, now=NOW + 60 * MINUTE)
    assert again(attempt).state == "deferred"
    updates.retry(bus, job_id=attempt.job_id, now=NOW + 61 * MINUTE)

    assert [order.attempt_id for order in takes_orders(bus, online, now=NOW + 61 * MINUTE)] == [attempt.job_id]


def test_the_fence_asked_twice_is_granted_twice_and_counted_once(bus, online, fenced):
    reports(bus, online, fenced, "swapping", now=NOW)

    assert again(fenced).fenced_at == NOW
    assert [text for text in texts(fenced) if "may swap" in text] == ["web1 may swap 0.1.0 for 0.2.0 now."]


def test_an_attempt_that_has_ended_may_not_swap(bus, online, sent):
    updates.sweep(bus, now=NOW + 90 * SECOND)

    with pytest.raises(Conflict) as refused:
        reports(bus, online, sent, "swapping", now=NOW + 91 * SECOND)

    assert refused.value.code == "attempt_closed"


def test_reports_about_what_is_unknown_or_of_another_host_are_refused(bus, online, db1, sent):
    with pytest.raises(NotFound) as unknown:
        reports(bus, online, UpdateAttempt(job=new_ulid()), "downloading")
    with pytest.raises(Forbidden):
        reports(bus, db1, sent, "downloading")
    with pytest.raises(Forbidden):
        ends(bus, db1, sent, "committed")

    assert unknown.value.code == "unknown_job"
    assert again(sent).state == "dispatched"
