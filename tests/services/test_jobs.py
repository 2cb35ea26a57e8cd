"""Jobs: ordered, carried out, ended once."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Forbidden, Invalid, NotFound
from rm.events import JobChanged
from rm.services import jobs
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandCancel, CommandRun, JobFinished, JobStarted
from rm.store.models import AuditEntry, BackupDay, Host, Job, SourceGroup
from tests import cast
from tests.cast import BOB, NOW


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


@pytest.fixture
def queued(bus, web1, group):
    return jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)


@pytest.fixture
def running(bus, web1, queued):
    jobs.next_orders(host_id=web1.id, now=NOW)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=queued.id, command="restic backup"), now=NOW)
    return Job.get_by_id(queued.id)


def finish(bus, host, job, outcome="succeeded", now=NOW, **more):
    report = JobFinished(job_id=job.id, outcome=outcome, exit_code=0, **more)
    jobs.finished(bus, host_id=host.id, report=report, now=now)
    return Job.get_by_id(job.id)


def test_a_backup_waits_in_the_queue_until_its_host_takes_it(queued):
    assert (queued.state, queued.dispatched_at) == ("queued", None)
    assert queued.expires_at == NOW + timedelta(hours=24)


def test_pressing_twice_gives_the_same_job(bus, web1, group, queued):
    again = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    assert again.id == queued.id


def test_a_host_without_repository_cannot_be_backed_up(bus, web1):
    with pytest.raises(Conflict, match="no repository"):
        jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)


@pytest.mark.parametrize("hook", [{"pre_hook": "dump"}, {"post_shell_sealed": b"x"}])
def test_an_agent_that_knows_no_hooks_is_not_asked_to_back_up_without_them(bus, web1, group, hook):
    SourceGroup.update(hook).where(SourceGroup.id == group).execute()
    Host.update(first_hello_at=NOW).where(Host.id == web1.id).execute()

    with pytest.raises(Conflict, match="too old to run them"):
        jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    Host.update(features=["hooks"]).where(Host.id == web1.id).execute()
    assert jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW).state == "queued"


def test_an_unknown_kind_is_refused(bus, web1, group):
    with pytest.raises(Invalid):
        jobs.order(bus, host_id=web1.id, kind="format-disk", actor=BOB, now=NOW)


def test_another_hosts_source_group_is_not_found(bus, db1, vault, group):
    cast.give_repository(bus, vault, db1)

    with pytest.raises(NotFound):
        jobs.order(bus, host_id=db1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)


def test_the_order_carries_what_to_back_up_and_no_secret(web1, queued):
    [order] = jobs.next_orders(host_id=web1.id, now=NOW)

    assert isinstance(order, CommandRun)
    assert (order.includes, order.excludes, order.source_group) == (["/srv/files"], ["*.tmp"], "files")
    assert "secret" not in repr(order)


def test_an_order_is_repeated_under_its_own_id_until_the_job_ends(bus, web1, queued):
    first = jobs.next_orders(host_id=web1.id, now=NOW)
    second = jobs.next_orders(host_id=web1.id, now=NOW)

    assert first == second


def test_a_started_job_is_only_asked_about_and_never_ordered_anew(web1, running):
    [order] = jobs.next_orders(host_id=web1.id, now=NOW)

    assert order.already_started is True


def test_a_host_gets_one_job_at_a_time(bus, web1, running):
    jobs.order(bus, host_id=web1.id, kind="snapshots", actor=BOB, now=NOW)

    assert [order.job_id for order in jobs.next_orders(host_id=web1.id, now=NOW)] == [running.id]
    finish(bus, web1, running)
    assert [order.kind for order in jobs.next_orders(host_id=web1.id, now=NOW)] == ["snapshots"]


def test_a_finished_backup_protects_its_host_and_counts_for_the_day(bus, web1, running):
    job = finish(bus, web1, running, summary={"snapshot_id": "abc"})

    host = Host.get_by_id(web1.id)
    assert (job.state, job.outcome, host.last_good_at, host.last_backup_id) == ("finished", "succeeded", NOW, job.id)
    assert host.last_good_began_at == job.started_at
    assert BackupDay.get().succeeded == 1


def test_a_failed_backup_does_not_protect(bus, web1, running):
    finish(bus, web1, running, "failed", reason="locked", message="The repository is locked.")

    assert Host.get_by_id(web1.id).last_good_at is None
    assert BackupDay.get().failed == 1


def test_a_repeated_report_is_taken_and_announced_once(bus, web1, running):
    with bus.subscribe() as listener:
        finish(bus, web1, running)
        first = listener.take(timeout=0)
        finish(bus, web1, running)
        second = listener.take(timeout=0)

    assert JobChanged(running.id, web1.id) in first
    assert second == []
    assert BackupDay.get().succeeded == 1


def test_a_contradicting_end_is_refused(bus, web1, running):
    finish(bus, web1, running, "failed")

    with pytest.raises(Conflict):
        finish(bus, web1, running, "succeeded")


def test_a_host_cannot_report_another_hosts_job(bus, db1, running):
    with pytest.raises(Forbidden) as caught:
        finish(bus, db1, running)

    assert caught.value.code == "not_yours"
    assert Job.get_by_id(running.id).state == "running"


def test_a_job_that_nobody_knows_is_refused(bus, web1):
    with pytest.raises(NotFound) as caught:
        jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=new_ulid()), now=NOW)

    assert caught.value.code == "unknown_job"


def test_an_end_without_a_start_is_taken(bus, web1, queued):
    jobs.next_orders(host_id=web1.id, now=NOW)

    assert finish(bus, web1, queued).outcome == "succeeded"


def test_a_waiting_job_is_cancelled_at_once(bus, queued):
    job = jobs.cancel(bus, job_id=queued.id, actor=BOB, now=NOW)

    assert (job.state, job.outcome) == ("finished", "cancelled")
    assert "bob" in job.message


def test_a_running_job_is_cancelled_by_its_host(bus, web1, running):
    job = jobs.cancel(bus, job_id=running.id, actor=BOB, now=NOW)

    orders = jobs.next_orders(host_id=web1.id, now=NOW)
    assert (job.state, job.cancel_requested_by) == ("running", "bob")
    assert CommandCancel(job_id=running.id) in orders


def test_a_cancel_that_comes_too_late_leaves_the_true_outcome(bus, web1, running):
    jobs.cancel(bus, job_id=running.id, actor=BOB, now=NOW)

    assert finish(bus, web1, running).outcome == "succeeded"
    with pytest.raises(Conflict):
        jobs.cancel(bus, job_id=running.id, actor=BOB, now=NOW)


def test_a_job_whose_host_never_came_is_given_up_and_says_so(bus, queued):
    assert jobs.give_up_waiting(bus, now=NOW + timedelta(hours=25)) == 1

    job = Job.get_by_id(queued.id)
    assert (job.outcome, job.reason) == ("cancelled", "expired")


def test_a_silent_job_is_lost_until_evidence_corrects_it(bus, web1, running):
    jobs.give_up_waiting(bus, now=NOW + timedelta(hours=25))
    assert Job.get_by_id(running.id).outcome == "lost"

    job = finish(
        bus, web1, running, now=NOW + timedelta(hours=30), finished_at=instants.to_text(NOW + timedelta(hours=2))
    )

    day = BackupDay.get()
    assert (job.outcome, day.succeeded, day.failed) == ("succeeded", 1, 0)
    assert AuditEntry.select().where(AuditEntry.action == "job.corrected").exists()


def test_a_host_whose_clock_is_ahead_does_not_end_jobs_in_the_future(bus, web1, running):
    job = finish(bus, web1, running, finished_at=instants.to_text(NOW + timedelta(days=3)))

    assert job.finished_at == NOW


def test_a_silent_job_is_asked_about(bus, web1, running):
    later = NOW + timedelta(minutes=3)

    assert jobs.list_to_ask_again(now=later, after=timedelta(seconds=75)) == [(web1.id, running.id)]
    assert jobs.list_to_ask_again(now=NOW, after=timedelta(seconds=75)) == []
