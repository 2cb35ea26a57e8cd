"""Attempts to update a host: ordered, sent, fenced, judged, corrected."""

import random
import threading
from datetime import timedelta

import pytest

from rm.domain.permissions import PERMISSIONS
from rm.domain.update_attempt import ENDED, is_open
from rm.domain.update_timing import Timing
from rm.errors import Conflict, Forbidden, Invalid, NotFound
from rm.events import JobChanged, JobQueued, UpdateChanged
from rm.services import hosts, jobs, presence, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandRollback, CommandUpdate, CommandUpdateCancel, JobFinished
from rm.store import figures
from rm.store import updates as stored
from rm.store.database import connection, db
from rm.store.models import (
    Alert,
    AuditEntry,
    FleetUpdate,
    Host,
    Job,
    OrphanResult,
    Release,
    UpdateAttempt,
    UpdateEvent,
)
from tests import cast
from tests.cast import ALICE, BOB, NOW, host_row
from tests.updating import (
    DAY,
    MINUTE,
    OLD_SHA256,
    SECOND,
    again,
    at_target,
    beats,
    ends,
    give_release,
    hangs_up,
    reports,
    says_hello,
    takes_orders,
)


@pytest.fixture
def release(app):
    return give_release()


@pytest.fixture
def online(bus, web1):
    says_hello(bus, web1)
    return web1


@pytest.fixture
def attempt(bus, online, release):
    return updates.order(bus, host_id=online.id, actor=BOB, now=NOW)


@pytest.fixture
def sent(bus, online, attempt):
    takes_orders(bus, online)
    return attempt


@pytest.fixture
def fenced(bus, online, sent):
    reports(bus, online, sent, "selftest")
    reports(bus, online, sent, "swapping")
    return sent


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


def alert():
    return Alert.get_or_none(Alert.kind == "update_failed")


def texts(attempt):
    return [event.text for event in stored.events(attempt.job_id)]


def actions():
    return [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id) if entry.action.startswith("update.")]


# ---- the way there ----


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


# ---- denials ----


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"agent_seq": 2}, "not_behind"),
        ({"agent_seq": 3, "agent_version": "0.3.0"}, "ahead"),
        ({"is_pinned": True}, "pinned"),
        ({"held_reason": "a customer's demo"}, "held"),
        ({"revoked_at": NOW}, "host_revoked"),
        ({"guard_version": "1"}, "guard_too_old"),
    ],
)
def test_a_host_that_is_not_to_be_updated_is_refused_with_the_reason(bus, online, release, fields, code):
    Host.update(fields).where(Host.id == online.id).execute()

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert refused.value.code == code
    assert "web1" in refused.value.message
    assert UpdateAttempt.select().count() == 0


def test_a_guard_that_does_not_say_its_version_is_judged_on_the_host(bus, online, release):
    Host.update(guard_version=None).where(Host.id == online.id).execute()

    assert updates.order(bus, host_id=online.id, actor=BOB, now=NOW).state == "queued"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"expires_at": "2026-11-23T11:59:59.000000Z"}, "no_release"),
        ({"min_from_seq": 2}, "no_artifact"),
        ({"artifacts": [{"os": "linux", "arch": "arm64", "name": "a", "size": 1, "sha256": "f" * 64}]}, "no_artifact"),
    ],
)
def test_a_release_that_the_host_cannot_take_is_not_ordered(bus, online, changed, code):
    give_release(seq=5, version="0.5.0", **changed)

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert refused.value.code == code


def test_without_a_release_nothing_is_ordered(bus, online):
    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert refused.value.code == "no_release"


def test_a_withdrawn_release_is_not_ordered(bus, online, release):
    Release.update(withdrawn_at=NOW, withdrawn_why="yanked").execute()

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW, release_id=release.id)

    assert refused.value.code == "no_release"


def test_a_soak_longer_than_the_guards_patience_is_refused(bus, online, release):
    with pytest.raises(Invalid):
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW, soak_seconds=700)


def test_what_came_back_once_wants_force_with_a_reason_by_an_administrator(bus, online, fenced):
    ends(bus, online, fenced, "rolled_back", reason="boots", phase="trial", now=NOW + MINUTE)

    def order(**more):
        return updates.order(bus, host_id=online.id, now=NOW + DAY, **({"actor": ALICE} | more))

    with pytest.raises(Conflict) as refused:
        order()
    with pytest.raises(Invalid):
        order(force=True)
    with pytest.raises(Invalid):
        order(force=True, reason="x" * 501)
    with pytest.raises(Forbidden):
        order(force=True, reason="the disk was full", actor=BOB)
    forced = order(force=True, reason="the disk was full")

    assert refused.value.code == "known_bad"
    assert (forced.is_forced, forced.force_reason) == (True, "the disk was full")
    assert takes_orders(bus, online, now=NOW + DAY)[0].force is True
    assert AuditEntry.select().order_by(AuditEntry.id.desc()).where(
        AuditEntry.action == "update.ordered"
    ).first().payload["reason"] == "the disk was full"  # fmt: skip


def test_force_overrides_nothing_else(bus, online, release):
    Host.update(is_pinned=True).where(Host.id == online.id).execute()

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=ALICE, now=NOW, force=True, reason="I want it")

    assert refused.value.code == "pinned"


# ---- pressed twice, by two, and while it waits ----


def test_pressed_twice_it_is_the_same_attempt(bus, online, attempt):
    again_pressed = updates.order(bus, host_id=online.id, actor=ALICE, now=NOW + MINUTE)

    assert again_pressed.job_id == attempt.job_id
    assert UpdateAttempt.select().count() == 1


def test_two_administrators_at_once_get_the_same_attempt(bus, online, release):
    found, ready = [], threading.Barrier(2)

    def press(actor):
        with connection():
            ready.wait(30)
            found.append(updates.order(bus, host_id=online.id, actor=actor, now=NOW).job_id)

    threads = [threading.Thread(target=press, args=(actor,)) for actor in (ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)

    assert len(found) == 2 and len(set(found)) == 1
    assert UpdateAttempt.select().count() == 1


def test_a_host_that_is_away_gets_the_order_when_it_returns(bus, web1, release):
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    says_hello(bus, web1, now=NOW + 20 * 60 * MINUTE)
    [order] = takes_orders(bus, web1, now=NOW + 20 * 60 * MINUTE)

    assert order.attempt_id == attempt.job_id
    assert order.not_after.startswith("2026-11-24T09:15")


def test_a_host_that_stays_away_for_a_day_is_given_up(bus, web1, release):
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    updates.sweep(bus, now=NOW + DAY)

    assert (again(attempt).state, again(attempt).reason) == ("cancelled", "expired")
    assert Job.get_by_id(attempt.job_id).outcome == "cancelled"
    assert alert() is None


def test_the_queue_of_jobs_leaves_an_update_alone(bus, web1, release):
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    jobs.give_up_waiting(bus, now=NOW + 3 * DAY)

    assert Job.get_by_id(attempt.job_id).state == "queued"
    assert jobs.list_to_ask_again(now=NOW + 3 * DAY, after=MINUTE) == []
    assert jobs.next_orders(bus=bus, host_id=web1.id, now=NOW) == []


def test_an_order_for_an_older_release_gives_way_to_a_newer_one(bus, web1, release):
    first = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    give_release(seq=3, version="0.3.0")

    second = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    assert (again(first).state, second.to_version) == ("cancelled", "0.3.0")
    assert second.epoch > first.epoch


def test_no_new_job_is_sent_while_an_update_is_under_way(bus, vault, online, sent):
    group = cast.give_repository(bus, vault, online)
    backup = jobs.order(bus, host_id=online.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    assert jobs.next_orders(bus=bus, host_id=online.id, now=NOW) == []
    assert Job.get_by_id(backup.id).waits_for == "waits for the update of web1, which is about to start"
    ends(bus, online, sent, "refused", phase="preflight", reason="no_space")
    assert [order.job_id for order in jobs.next_orders(bus=bus, host_id=online.id, now=NOW)] == [backup.id]


def test_an_update_does_not_wait_for_the_job_that_runs(bus, vault, online, release):
    group = cast.give_repository(bus, vault, online)
    jobs.order(bus, host_id=online.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    jobs.next_orders(bus=bus, host_id=online.id, now=NOW)

    attempt = updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert [order.attempt_id for order in takes_orders(bus, online)] == [attempt.job_id]


def test_a_job_report_about_an_update_is_refused(bus, online, sent):
    with pytest.raises(Conflict):
        jobs.finished(
            bus, host_id=online.id, report=JobFinished(job_id=sent.job_id, outcome="succeeded"), now=NOW
        )  # fmt: skip

    assert again(sent).state == "dispatched"


# ---- sending again ----


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


# ---- the fence ----


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


# ---- cancelling ----


def test_what_waits_is_cancelled_at_once(bus, web1, release):
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    jobs.cancel(bus, job_id=attempt.job_id, actor=BOB, now=NOW)

    assert (again(attempt).state, Job.get_by_id(attempt.job_id).outcome) == ("cancelled", "cancelled")
    assert "Cancelled by bob" in again(attempt).message


def test_what_the_host_has_is_cancelled_when_the_host_says_so(bus, online, sent):
    jobs.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)
    assert again(sent).state == "dispatched"
    assert takes_orders(bus, online) == [CommandUpdateCancel(attempt_id=sent.job_id)]

    ends(bus, online, sent, "cancelled")

    assert again(sent).state == "cancelled"
    assert takes_orders(bus, online) == []


def test_without_an_answer_it_is_cancelled_after_the_timeout_and_told_again(bus, online, sent):
    updates.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)
    updates.cancel(bus, job_id=sent.job_id, actor=ALICE, now=NOW + SECOND)

    updates.sweep(bus, now=NOW + 90 * SECOND)

    assert (again(sent).state, alert()) == ("cancelled", None)
    assert takes_orders(bus, online, now=NOW + 2 * MINUTE) == [CommandUpdateCancel(attempt_id=sent.job_id)]


def test_past_the_fence_and_after_the_end_cancelling_is_refused(bus, online, fenced):
    with pytest.raises(Conflict) as begun:
        updates.cancel(bus, job_id=fenced.job_id, actor=BOB, now=NOW)
    ends(bus, online, fenced, "rolled_back")
    with pytest.raises(Conflict) as over:
        updates.cancel(bus, job_id=fenced.job_id, actor=BOB, now=NOW)

    assert (begun.value.code, over.value.code) == ("past_the_fence", "job_over")


def test_while_it_is_being_cancelled_no_other_is_ordered(bus, online, sent):
    updates.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert refused.value.code == "being_cancelled"


# ---- failures, alerts, corrections ----


@pytest.mark.parametrize(
    ("outcome", "fields", "state", "kind"),
    [
        ("rolled_back", {"phase": "trial", "reason": "boots"}, "rolled_back", "release"),
        ("failed", {"phase": "downloading", "reason": "unreachable"}, "failed", "infrastructure"),
        ("failed", {"phase": "verifying", "reason": "unknown_key"}, "failed", "integrity"),
        ("failed", {"phase": "selftest", "reason": "selftest_crashed"}, "failed", "release"),
        ("refused", {"phase": "preflight", "reason": "no_space"}, "refused", "host"),
        ("revert_failed", {"phase": "trial", "reason": "no_old"}, "failed", "release"),
        ("rolled_back", {"phase": "trial", "reason": "unreachable"}, "rolled_back", "infrastructure"),
    ],
)
def test_a_failure_raises_an_alert_about_its_host_with_its_class(bus, online, sent, outcome, fields, state, kind):
    ends(bus, online, sent, outcome, detail="Free 3 GB.", **fields)

    done, raised = again(sent), alert()
    assert (done.state, done.failure_class, done.is_revert_failed) == (state, kind, outcome == "revert_failed")
    assert (raised.condition, raised.host_id, raised.state) == (f"host:{online.id}", online.id, "raised")
    assert raised.message == done.message
    assert "Free 3 GB." in done.message


def test_a_host_that_its_owner_pinned_raises_no_alert(bus, online, sent):
    ends(bus, online, sent, "refused", phase="accepted", reason="pinned")

    assert (again(sent).state, alert()) == ("refused", None)


@pytest.mark.parametrize(("seconds", "state"), [(89, "dispatched"), (91, "failed"), (200, "failed")])
def test_ninety_seconds_without_a_sign_are_a_provisional_failure(bus, online, sent, seconds, state):
    updates.sweep(bus, now=NOW + seconds * SECOND)

    assert (again(sent).state, again(sent).is_provisional) == (state, state == "failed")
    assert (alert() is not None) == (state == "failed")


def test_a_hello_after_89_seconds_is_in_time_and_after_91_late(bus, online, db1, release):
    says_hello(bus, db1)
    ended = {}
    for host, seconds in ((online, 89), (db1, 91)):
        attempt = updates.order(bus, host_id=host.id, actor=BOB, now=NOW)
        takes_orders(bus, host)
        reports(bus, host, attempt, "swapping")
        updates.sweep(bus, now=NOW + seconds * SECOND)
        says_hello(bus, host, now=NOW + seconds * SECOND, **at_target(release))
        ends(bus, host, attempt, "committed", now=NOW + (seconds + 60) * SECOND)
        ended[seconds] = again(attempt)

    assert (ended[89].state, ended[89].is_late) == ("succeeded", False)
    assert (ended[91].state, ended[91].is_late) == ("succeeded", True)


def verdicts_counted():
    """What /metrics counts of verdicts from silence."""
    return {first: value for first, _, _, value in figures.totals().get("update_verdicts", [])}


def test_a_late_hello_resolves_the_alert_with_a_note_and_corrects_the_counters(bus, online, release, fenced):
    updates.sweep(bus, now=NOW + 90 * SECOND)
    assert verdicts_counted() == {"provisional": 1}

    says_hello(bus, online, now=NOW + 200 * SECOND, **at_target(release))

    assert (again(fenced).state, again(fenced).is_late, again(fenced).is_provisional) == ("succeeded", True, False)
    assert (alert().state, "after all" in alert().note) == ("resolved", True)
    assert verdicts_counted() == {"provisional": 1, "corrected": 1}
    assert "update.corrected" in actions()
    assert Job.get_by_id(fenced.job_id).outcome == "succeeded"


def test_a_late_report_says_better_what_the_open_alert_is_about(bus, online, fenced):
    updates.sweep(bus, now=NOW + 90 * SECOND)
    ends(bus, online, fenced, "rolled_back", phase="trial", reason="boots", now=NOW + 200 * SECOND)

    assert (again(fenced).state, again(fenced).is_late) == ("rolled_back", True)
    assert (alert().state, alert().count, alert().message) == ("raised", 1, again(fenced).message)


def test_a_host_that_slept_a_day_in_the_download_is_tried_again(bus, online, sent):
    reports(bus, online, sent, "downloading")
    hangs_up(bus, online)
    updates.sweep(bus, now=NOW + 90 * SECOND)
    assert (again(sent).reason, alert().state) == ("connection_lost", "raised")

    later = NOW + 23 * 60 * MINUTE
    says_hello(bus, online, now=later, update={"attempt_id": sent.job_id, "phase": "downloading"})

    assert (again(sent).state, again(sent).is_late, alert().state) == ("deferred", True, "resolved")
    assert Job.get_by_id(sent.job_id).state == "queued"


def test_a_later_success_resolves_the_alert(bus, online, release, sent):
    ends(bus, online, sent, "failed", phase="downloading", reason="unreachable")
    attempt = updates.order(bus, host_id=online.id, actor=BOB, now=NOW + MINUTE)
    takes_orders(bus, online, now=NOW + MINUTE)
    reports(bus, online, attempt, "swapping", now=NOW + MINUTE)
    says_hello(bus, online, now=NOW + 2 * MINUTE, **at_target(release))
    ends(bus, online, attempt, "committed", now=NOW + 3 * MINUTE)

    assert (alert().state, alert().note) == ("resolved", again(attempt).message)


def test_the_journal_in_a_hello_counts_as_the_report(bus, online, fenced):
    journal = {"attempt_id": fenced.job_id, "phase": "trial", "outcome": "rolled_back", "reason": "boots"}

    says_hello(bus, online, now=NOW + 70 * SECOND, update=journal)

    assert (again(fenced).state, again(fenced).reason) == ("rolled_back", "boots")


@pytest.mark.parametrize(
    "journal",
    [{}, {"attempt_id": 7}, {"attempt_id": "x" * 5000, "phase": []}, {"attempt_id": None, "outcome": {"a": 1}}],
)
def test_a_journal_that_says_nonsense_is_no_evidence(bus, online, fenced, journal):
    says_hello(bus, online, now=NOW + 70 * SECOND, update=journal)

    assert again(fenced).state == "running"


def test_the_journal_of_another_hosts_attempt_is_no_evidence(bus, online, db1, fenced):
    says_hello(bus, db1)
    updates.order(bus, host_id=db1.id, actor=BOB, now=NOW)

    says_hello(bus, db1, update={"attempt_id": fenced.job_id, "phase": "trial", "outcome": "rolled_back"})

    assert again(fenced).state == "running"


def test_a_wrong_hash_fails_the_attempt_as_a_matter_of_integrity(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 9 * SECOND, **at_target(release, running_sha256="c" * 64))
    ends(bus, online, fenced, "committed", now=NOW + 70 * SECOND)

    assert (again(fenced).state, again(fenced).failure_class, again(fenced).is_provisional) == (
        "failed", "integrity", False,
    )  # fmt: skip
    assert texts(fenced)[-1] == "web1 reports: committed. The verdict stands."


@pytest.mark.parametrize("outcome", ["committed", "rolled_back", "refused", "deferred", "failed", "cancelled"])
def test_a_report_that_comes_twice_changes_nothing(bus, online, release, fenced, outcome):
    ends(bus, online, fenced, outcome, phase="trial")
    before = (again(fenced).state, again(fenced).ended_at, texts(fenced), actions(), alert() and alert().count)

    ends(bus, online, fenced, outcome, phase="trial", now=NOW + MINUTE)

    assert (again(fenced).state, again(fenced).ended_at, texts(fenced), actions(), alert() and alert().count) == before


# ---- a database that does not know ----


def test_a_result_that_this_database_does_not_know_is_kept_once(bus, online):
    attempt_id = new_ulid()
    for _ in range(2):
        ends(bus, online, None, "committed", attempt_id=attempt_id, detail="from before the restore")

    [orphan] = OrphanResult.select()
    assert (orphan.attempt_id, orphan.outcome, orphan.detail) == (attempt_id, "committed", "from before the restore")
    assert actions() == ["update.unknown_result"]


def test_what_is_kept_of_unknown_results_is_bounded(bus, online):
    for _ in range(110):
        ends(bus, online, None, "failed")

    assert OrphanResult.select().count() == 100


def test_a_host_is_deleted_in_the_middle(bus, online, fenced):
    hosts.remove(bus, host_id=online.id, typed_name="web1", actor=ALICE, now=NOW)

    assert updates.sweep(bus, now=NOW + DAY) == 0
    assert updates.rearm(bus, now=NOW + DAY) == 0
    with pytest.raises(NotFound):
        reports(bus, online, fenced, "restarting")
    assert UpdateAttempt.select().count() == UpdateEvent.select().count() == 0


def test_nobody_learns_what_became_of_a_host_that_was_revoked(bus, online, fenced):
    hosts.revoke_credential(bus, host_id=online.id, actor=ALICE, now=NOW + SECOND)

    updates.sweep(bus, now=NOW + 90 * SECOND)

    assert (again(fenced).state, Job.get_by_id(fenced.job_id).outcome) == ("lost", "lost")


# ---- clocks and restarts ----


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_server_clock_that_jumps_fails_nobody(bus, online, release, fenced, jump):
    at = NOW + jump

    assert updates.rearm(bus, now=at) == 1
    assert updates.sweep(bus, now=at) == 0
    assert again(fenced).deadline_at == at + 90 * SECOND
    says_hello(bus, online, now=at + 5 * SECOND, **at_target(release))
    ends(bus, online, fenced, "committed", now=at + 70 * SECOND)

    assert (again(fenced).state, again(fenced).is_late) == ("succeeded", False)


def test_after_a_restart_the_host_has_its_ninety_seconds_again(bus, online, release, fenced):
    presence.nobody_is_connected()
    updates.rearm(bus, now=NOW + 10 * MINUTE)

    assert updates.sweep(bus, now=NOW + 10 * MINUTE + 89 * SECOND) == 0
    assert updates.sweep(bus, now=NOW + 10 * MINUTE + 90 * SECOND) == 1


def test_attempts_carry_the_patience_they_were_ordered_with(bus, online, release):
    updates.use_timing(Timing(30, 35))
    attempt = updates.order(bus, host_id=online.id, actor=BOB, now=NOW, soak_seconds=0)
    [order] = takes_orders(bus, online)
    updates.use_timing(Timing())

    assert (order.timers["revert_seconds"], order.timers["soak_seconds"]) == (20, 0)
    assert "attempt_seconds" not in order.timers
    assert again(attempt).deadline_at == NOW + 30 * SECOND


def test_looking_for_what_is_overdue_uses_the_index_of_open_attempts(bus, fenced):
    query = UpdateAttempt.select().where(stored.IS_OPEN, UpdateAttempt.deadline_at <= NOW)
    sql, values = query.sql()

    plan = " ".join(row[3] for row in db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values))

    assert "update_attempts_open" in plan


def test_when_nothing_is_overdue_a_sweep_is_one_query(bus, fenced, monkeypatch):
    asked = []
    real = db.execute_sql
    monkeypatch.setattr(db, "execute_sql", lambda sql, *more, **named: asked.append(sql) or real(sql, *more, **named))

    updates.sweep(bus, now=NOW)

    assert len(asked) == 1


# ---- rolling back ----


@pytest.fixture
def committed(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 5 * SECOND, **at_target(release))
    ends(bus, online, fenced, "committed", now=NOW + 70 * SECOND)
    return fenced


def test_a_rollback_within_seven_days_puts_the_recorded_agent_back(bus, online, committed):
    at = NOW + 6 * DAY
    attempt = updates.order_rollback(bus, host_id=online.id, actor=BOB, now=at, reason="it is slow")
    [order] = takes_orders(bus, online, now=at)
    reports(bus, online, attempt, "swapping", now=at)
    says_hello(bus, online, now=at + 5 * SECOND)
    ends(bus, online, attempt, "committed", now=at + 70 * SECOND)

    assert isinstance(order, CommandRollback)
    assert (order.to_sha256, again(attempt).state, again(attempt).is_rollback) == (OLD_SHA256, "succeeded", True)
    assert "it is slow" in texts(attempt)[0]


def test_a_rollback_happens_once(bus, online, committed):
    test_a_rollback_within_seven_days_puts_the_recorded_agent_back(bus, online, committed)

    with pytest.raises(Conflict) as refused:
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + 6 * DAY + MINUTE, reason="again")

    assert refused.value.code == "no_rollback"


@pytest.mark.parametrize(
    ("days", "fields", "code"),
    [(8, {}, "no_rollback"), (1, {"agent_seq": 9}, "no_rollback"), (1, {"is_pinned": True}, "pinned"),
     (1, {"revoked_at": NOW}, "host_revoked")],
)  # fmt: skip
def test_a_rollback_that_cannot_be_is_refused(bus, online, committed, days, fields, code):
    if fields:
        Host.update(fields).where(Host.id == online.id).execute()

    with pytest.raises(Conflict) as refused:
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + days * DAY, reason="why not")

    assert refused.value.code == code


def test_a_rollback_wants_a_reason(bus, online, committed):
    with pytest.raises(Invalid):
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="  ")


def test_update_and_rollback_do_not_cross(bus, online, release, committed):
    back = updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="it is slow")
    give_release(seq=3, version="0.3.0")

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW + DAY)

    assert refused.value.code == "rollback_under_way"
    assert updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="x").job_id == back.job_id


# ---- holding ----


def test_a_held_host_is_not_updated_until_it_is_released(bus, online, sent):
    updates.hold(bus, host_id=online.id, reason="month end", actor=ALICE, now=NOW)
    assert (host_row(online).held_reason, again(sent).cancel_requested_at) == ("month end", NOW)
    ends(bus, online, sent, "cancelled")
    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=ALICE, now=NOW)

    updates.unhold(bus, host_id=online.id, actor=ALICE, now=NOW)

    assert (refused.value.code, "month end" in refused.value.message) == ("held", True)
    assert updates.order(bus, host_id=online.id, actor=ALICE, now=NOW).state == "queued"


def test_holding_wants_a_reason_and_is_for_administrators(bus, online):
    with pytest.raises(Invalid):
        updates.hold(bus, host_id=online.id, reason="", actor=ALICE, now=NOW)

    assert (PERMISSIONS["hosts.hold"], PERMISSIONS["updates.force"], PERMISSIONS["updates.run"]) == (
        "admin", "admin", "operator",
    )  # fmt: skip


def test_what_is_past_the_fence_finishes_although_its_host_is_held(bus, online, fenced):
    updates.hold(bus, host_id=online.id, reason="month end", actor=ALICE, now=NOW)

    assert (again(fenced).state, again(fenced).cancel_requested_at) == ("running", None)


# ---- counting ----


def test_how_many_hosts_are_behind(bus, online, db1, release):
    Host.update(agent_seq=2).where(Host.id == db1.id).execute()

    assert (stored.count_behind(release), stored.count_behind(None)) == (1, 0)


def test_the_counters_equal_the_events_after_whatever_happened(bus, online, release):
    chance = random.Random(4)
    now = NOW
    for _ in range(300):
        now += chance.choice([SECOND, 20 * SECOND, 91 * SECOND, 10 * MINUTE])
        found = stored.last_for_host(online.id)
        kind = chance.choice(["order", "send", "progress", "fence", "hello", "result", "cancel", "sweep", "sweep"])
        try:
            if kind == "order":
                updates.order(bus, host_id=online.id, actor=ALICE, now=now, force=True, reason="trying")
            elif kind == "send":
                takes_orders(bus, online, now=now)
            elif kind in ("progress", "fence") and found:
                reports(bus, online, found, "swapping" if kind == "fence" else "downloading", now=now)
            elif kind == "hello":
                says_hello(bus, online, now=now, **chance.choice([{}, at_target(release)]))
                Host.update(agent_seq=1).where(Host.id == online.id).execute()
            elif kind == "result" and found:
                outcome = chance.choice(["committed", "rolled_back", "refused", "deferred", "failed", "cancelled"])
                ends(bus, online, found, outcome, now=now)
            elif kind == "cancel" and found:
                updates.cancel(bus, job_id=found.job_id, actor=ALICE, now=now)
            else:
                updates.sweep(bus, now=now)
        except Conflict:
            continue

    attempts = list(UpdateAttempt.select())
    last = {event.job_id: event.state for event in UpdateEvent.select().order_by(UpdateEvent.id)}
    by_event = sorted(last[attempt.job_id] for attempt in attempts)
    assert by_event == sorted(attempt.state for attempt in attempts)
    assert len(attempts) > 20
    for attempt in attempts:
        job = Job.get_by_id(attempt.job_id)
        assert (job.state == "finished") == (attempt.state in ENDED)
        assert (attempt.deadline_at is not None) == is_open(attempt.state)
    latest = stored.last_for_host(online.id)
    if latest.state == "succeeded":
        assert Alert.select().where(Alert.state != "resolved").count() == 0


def test_a_flood_of_progress_is_not_written_each_time(bus, online, sent):
    reports(bus, online, sent, "downloading", percent=1.0, now=NOW + SECOND)
    for at in range(100):
        reports(bus, online, sent, "downloading", percent=2.0, now=NOW + SECOND + timedelta(milliseconds=at))

    assert again(sent).percent == 1.0
    assert len(texts(sent)) == 3
