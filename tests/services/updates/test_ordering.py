"""Ordering an update: who and what is refused, twice, by two, and while the host is away."""

import threading

import pytest

from rm.errors import Conflict, Forbidden, Invalid
from rm.services import jobs, updates
from rm.shared.protocol import JobFinished
from rm.store.database import connection
from rm.store.models import AuditEntry, Host, Job, Release, UpdateAttempt
from tests import cast
from tests.cast import ALICE, BOB, NOW
from tests.services.updates.looking import alert
from tests.updating import DAY, MINUTE, again, ends, give_release, says_hello, takes_orders


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
