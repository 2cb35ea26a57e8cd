"""The queue with its database: what waits says why, and goes on when its blocker ends."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid
from rm.events import JobQueued
from rm.services import hosts, jobs, repositories, repository_hosts
from rm.services.repository_forms import MaintenanceForm
from rm.shared.protocol import JobFinished, JobStarted
from rm.store.models import Host, Job, Repository
from tests import cast
from tests.cast import ALICE, BOB, NOW


@pytest.fixture
def shared(bus, vault, web1, db1):
    """One repository of two connected hosts; the source group of web1."""
    group = cast.give_repository(bus, vault, web1)
    repository_id = cast.host_row(web1).repository_id
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    Host.update(connected_at=NOW, last_seen_at=NOW).execute()
    return group


@pytest.fixture
def backing_up(bus, web1, shared):
    """web1's backup, under way."""
    job = order(bus, web1, "backup", source_group_id=shared)
    jobs.next_orders(bus=bus, host_id=web1.id, now=NOW)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=job.id), now=NOW)
    return job


def order(bus, host, kind, **more):
    return jobs.order(bus, host_id=host.id, kind=kind, actor=BOB, now=NOW, **more)


def sent_to(bus, host, now=NOW):
    return [one.job_id for one in jobs.next_orders(bus=bus, host_id=host.id, now=now)]


def end(bus, host, job, **more):
    report = {"outcome": "succeeded"} | more
    jobs.finished(bus, host_id=host.id, report=JobFinished(job_id=job.id, **report), now=NOW)


def test_a_prune_waits_for_the_backup_of_another_host_and_says_so(bus, db1, backing_up):
    prune = order(bus, db1, "prune")

    assert sent_to(bus, db1) == []
    assert Job.get_by_id(prune.id).waits_for == "waits for the backup of web1, running since 2026-11-23 12:00 UTC"
    hold, blocker = jobs.blocker_of(Job.get_by_id(prune.id), now=NOW)
    assert (hold.code, blocker.id) == ("repository_busy", backing_up.id)


@pytest.mark.parametrize("how", ["ends", "is lost", "is removed with its host"])
def test_it_goes_on_when_its_blocker(bus, web1, db1, backing_up, how):
    prune = order(bus, db1, "prune")
    sent_to(bus, db1)

    with bus.subscribe() as listener:
        if how == "ends":
            end(bus, web1, backing_up)
        elif how == "is lost":
            jobs.give_up_waiting(bus, now=NOW + timedelta(hours=23, minutes=59))
            Job.update(last_sign_at=NOW - timedelta(hours=25)).where(Job.id == backing_up.id).execute()
            jobs.give_up_waiting(bus, now=NOW)
        else:
            hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)
        events = listener.take(timeout=0)

    assert JobQueued(prune.id, db1.id) in events
    assert sent_to(bus, db1) == [prune.id]
    assert Job.get_by_id(prune.id).waits_for == ""


def test_a_backup_waits_for_a_running_prune_and_cancelling_it_works_at_once(bus, web1, db1, shared):
    prune = order(bus, db1, "prune")
    assert sent_to(bus, db1) == [prune.id]
    backup = order(bus, web1, "backup", source_group_id=shared)

    assert sent_to(bus, web1) == []
    assert Job.get_by_id(backup.id).waits_for == "waits for the prune of db1, which is about to start"
    cancelled = jobs.cancel(bus, job_id=backup.id, actor=BOB, now=NOW)
    assert (cancelled.state, cancelled.outcome, cancelled.waits_for) == ("finished", "cancelled", "")


def test_an_exclusive_job_has_its_turn_after_an_hour_without_any_event(bus, web1, db1, shared):
    prune = order(bus, db1, "prune")
    order(bus, web1, "backup", source_group_id=shared)
    assert sent_to(bus, db1) == []

    later = NOW + timedelta(hours=1)
    with bus.subscribe() as listener:
        jobs.give_up_waiting(bus, now=later)
        events = listener.take(timeout=0)

    assert JobQueued(prune.id, db1.id) in events
    assert sent_to(bus, db1, later) == [prune.id]


def test_a_backup_is_sent_before_the_time_box_of_a_prune_is_over_though_nobody_hears_of_that(bus, web1, db1, shared):
    prune = order(bus, db1, "prune")
    Job.update(parameters={"time_box_seconds": 1800}).where(Job.id == prune.id).execute()
    assert sent_to(bus, db1) == [prune.id]
    Host.update(connected_at=None).where(Host.id == db1.id).execute()
    backup = order(bus, web1, "backup", source_group_id=shared)

    early = sent_to(bus, web1, NOW + timedelta(minutes=20))
    later = NOW + timedelta(minutes=29)
    with bus.subscribe() as listener:
        jobs.give_up_waiting(bus, now=later)
        events = listener.take(timeout=0)

    assert early == []
    assert JobQueued(backup.id, web1.id) in events
    assert sent_to(bus, web1, later) == [backup.id]


def test_a_job_whose_turn_never_came_expires_with_the_reason(bus, db1, backing_up):
    prune = order(bus, db1, "prune")
    sent_to(bus, db1)

    jobs.give_up_waiting(bus, now=NOW + timedelta(hours=24))

    over = Job.get_by_id(prune.id)
    assert (over.outcome, over.reason) == ("cancelled", "expired")
    assert "waits for the backup of web1" in over.message


def test_a_check_carries_its_part_and_another_part_is_another_job(bus, web1, shared):
    first, again, other = (order(bus, web1, "check", subset=subset) for subset in ("1/10", "1/10", "2/10"))

    assert (first.id, first.parameters) == (again.id, {"subset": "1/10"})
    assert other.id != first.id
    [sent] = jobs.next_orders(bus=bus, host_id=web1.id, now=NOW)
    assert sent.parameters["subset"] == "1/10"


@pytest.mark.parametrize("subset", ["0/10", "11/10", "1/257", "1", "1/0", "a/b", "1/10;rm", "01/10", "10%"])
def test_a_part_that_makes_no_sense_is_refused(bus, web1, shared, subset):
    with pytest.raises(Invalid) as caught:
        order(bus, web1, "check", subset=subset)

    assert "subset" in caught.value.fields


def test_only_a_check_has_a_part(bus, web1, shared):
    with pytest.raises(Invalid):
        order(bus, web1, "prune", subset="1/2")


def test_an_append_only_repository_is_not_pruned_without_a_maintenance_credential(bus, vault, web1, shared):
    job = order(bus, web1, "prune")
    sent_to(bus, web1)
    end(bus, web1, job, outcome="failed", reason="append_only")

    with pytest.raises(Conflict) as caught:
        order(bus, web1, "prune")

    assert (caught.value.code, Repository.get().is_append_only) == ("append_only", True)
    repositories.set_maintenance(
        bus, vault, repository_id=Repository.get().id, form=MaintenanceForm("keeper", "s"), is_append_only=True,
        actor=ALICE, now=NOW,
    )  # fmt: skip
    assert order(bus, web1, "prune").state == "queued"


def test_the_order_names_the_repository_that_the_server_knows(bus, web1, shared):
    Repository.update(restic_repository_id="f" * 64).execute()
    order(bus, web1, "prune")

    [sent] = jobs.next_orders(bus=bus, host_id=web1.id, now=NOW)

    assert sent.parameters == {"restic_repository_id": "f" * 64}
