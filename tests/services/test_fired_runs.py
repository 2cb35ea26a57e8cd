"""Runs that a host's own schedule fired: the server learns of them by report, in any order, however late."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Forbidden, NotFound
from rm.services import fired_jobs, hosts, jobs, skipped_runs
from rm.services.source_groups import remove
from rm.shared import ids, instants
from rm.shared.protocol import CommandRun, JobFinished, JobStarted, RunsSkipped
from rm.store import skipped_runs as stored_skips
from rm.store.models import BackupDay, Host, Job, SkippedRun
from tests import cast
from tests.cast import ALICE, BOB, NOW

DUE = NOW - timedelta(minutes=10)


@pytest.fixture
def group(bus, vault, web1):
    Host.update(enrolled_at=NOW - timedelta(days=30)).execute()
    return cast.give_repository(bus, vault, web1)


def run_id(due=DUE, tail=7):
    return ids.ulid(int(due.timestamp() * 1000), tail)


def fired(host, due=DUE, **more):
    return {
        "kind": "backup", "source_group": "files", "schedule_id": "S1", "due_at": instants.to_text(due),
        "repository_id": cast.host_row(host).repository_id,
    } | more  # fmt: skip


def start(bus, host, job_id=None, *, due=DUE, now=NOW, **more):
    job_id = job_id or run_id(due)
    report = JobStarted(job_id=job_id, started_at=instants.to_text(due), **fired(host, due, **more))
    jobs.started(bus, host_id=host.id, report=report, now=now)
    return Job.get_by_id(job_id)


def finish(bus, host, job_id=None, outcome="succeeded", *, due=DUE, ended=None, now=NOW, **more):
    job_id = job_id or run_id(due)
    ended = ended or due + timedelta(minutes=5)
    report = JobFinished(
        job_id=job_id, outcome=outcome, started_at=instants.to_text(due), finished_at=instants.to_text(ended),
        **fired(host, due, **more),
    )  # fmt: skip
    jobs.finished(bus, host_id=host.id, report=report, now=now)
    return Job.get_by_id(job_id)


def test_a_start_makes_the_job_and_its_end_ends_it(bus, web1, group):
    job = start(bus, web1, why_late="asleep since 03:00", attempt=2)
    ended = finish(bus, web1)

    assert (job.state, job.requested_by, job.source_group) == ("running", "schedule", "files")
    assert (job.schedule_id, job.due_at, job.why_late, job.attempt) == ("S1", DUE, "asleep since 03:00", 2)
    assert job.repository_id == cast.host_row(web1).repository_id
    assert (ended.state, ended.outcome, ended.finished_at) == ("finished", "succeeded", DUE + timedelta(minutes=5))
    assert Job.select().count() == 1


def test_an_end_alone_makes_the_whole_job(bus, web1, group):
    job = finish(bus, web1)

    assert (job.state, job.outcome, job.started_at) == ("finished", "succeeded", DUE)
    assert cast.host_row(web1).last_backup_id == job.id


def test_an_end_before_its_start_stands(bus, web1, group):
    finish(bus, web1)
    job = start(bus, web1)

    assert (job.state, job.outcome) == ("finished", "succeeded")


@pytest.mark.parametrize("times", [2, 5])
def test_reports_that_come_again_change_nothing(bus, web1, group, times):
    for _ in range(times):
        start(bus, web1)
    for _ in range(times):
        finish(bus, web1)

    assert Job.select().count() == 1
    assert BackupDay.get().succeeded == 1


def test_a_week_of_runs_arrives_later_each_on_its_own_day(bus, web1, group):
    first = NOW - timedelta(days=7)
    for day in range(7):
        due = first + timedelta(days=day)
        start(bus, web1, due=due)
        finish(bus, web1, due=due)

    days = list(BackupDay.select().order_by(BackupDay.day))
    assert [(day.day, day.succeeded) for day in days] == [
        ((first + timedelta(days=n)).strftime("%Y-%m-%d"), 1) for n in range(7)
    ]
    assert cast.host_row(web1).last_good_at == NOW - timedelta(days=1) + timedelta(minutes=5)
    assert [job.created_at for job in Job.select().order_by(Job.id)] == [first + timedelta(days=n) for n in range(7)]


def test_a_late_report_does_not_become_the_latest_backup(bus, web1, group):
    today = finish(bus, web1)

    finish(bus, web1, None, "failed", due=NOW - timedelta(days=3))

    assert cast.host_row(web1).last_backup_id == today.id


def test_a_run_of_before_midnight_counts_for_the_day_on_which_it_ended(bus, web1, group):
    midnight = NOW.replace(hour=0)
    finish(bus, web1, due=midnight - timedelta(minutes=10), ended=midnight + timedelta(minutes=20))

    assert [day.day for day in BackupDay.select()] == [midnight.strftime("%Y-%m-%d")]


def test_a_clock_that_is_ahead_ends_no_job_in_the_future(bus, web1, group):
    job = finish(bus, web1, due=NOW + timedelta(hours=2), ended=NOW + timedelta(hours=3))

    assert (job.finished_at, job.created_at) == (NOW, NOW)


def test_a_group_that_was_removed_meanwhile_keeps_its_name_in_the_job(bus, web1, group):
    remove(bus, host_id=web1.id, group_id=group, actor=BOB, now=NOW)

    assert finish(bus, web1).source_group == "files"


def test_an_ordered_backup_of_the_group_that_runs_already_is_that_run(bus, web1, group):
    running = start(bus, web1)

    ordered = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    assert ordered.id == running.id


def test_a_fired_run_holds_up_what_was_ordered_until_it_ends(bus, web1, group):
    start(bus, web1)
    ordered = jobs.order(bus, host_id=web1.id, kind="check", actor=BOB, now=NOW)

    during = jobs.next_orders(host_id=web1.id, now=NOW)
    finish(bus, web1)
    after = jobs.next_orders(host_id=web1.id, now=NOW)

    assert [(order.job_id, order.already_started) for order in during] == [(run_id(), True)]
    assert [order.job_id for order in after if isinstance(order, CommandRun)] == [ordered.id]


def test_a_run_that_fell_silent_is_lost_until_its_end_is_heard(bus, web1, group):
    start(bus, web1)
    later = NOW + timedelta(days=2)
    jobs.give_up_waiting(bus, now=later)
    lost = Job.get_by_id(run_id()).outcome

    finish(bus, web1, now=later)

    assert (lost, Job.get_by_id(run_id()).outcome) == ("lost", "succeeded")
    assert [(day.succeeded, day.failed) for day in BackupDay.select().order_by(BackupDay.day)] == [(1, 0), (0, 0)]


# ---- what is not believed ----


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": None},
        {"kind": "prune"},
        {"kind": "update"},
        {"due_at": None},
        {"due_at": instants.to_text(NOW + timedelta(days=2))},
        {"due_at": instants.to_text(DUE - timedelta(hours=1))},
    ],
)
def test_a_report_of_what_no_schedule_can_have_fired_is_of_an_unknown_job(bus, web1, group, changes):
    with pytest.raises(NotFound) as by_start:
        start(bus, web1, run_id(), **changes)
    with pytest.raises(NotFound) as by_end:
        finish(bus, web1, run_id(), **changes)

    assert (by_start.value.code, by_end.value.code) == ("unknown_job", "unknown_job")
    assert Job.select().count() == 0


@pytest.mark.parametrize(("days", "is_believed"), [(30.9, True), (31.1, False), (10_000, False)])
def test_a_run_is_not_believed_that_was_due_more_than_a_day_before_its_host_was_enrolled(
    bus, web1, group, days, is_believed
):
    due = NOW - timedelta(days=days)

    if is_believed:
        start(bus, web1, due=due)
    else:
        with pytest.raises(NotFound, match="before its host was enrolled"):
            start(bus, web1, due=due)
        with pytest.raises(NotFound, match="before its host was enrolled"):
            finish(bus, web1, due=due)
    assert Job.select().count() == BackupDay.select().count() + is_believed


def test_the_job_of_another_host_cannot_be_started_or_ended(bus, web1, db1, group):
    start(bus, web1)

    with pytest.raises(Forbidden):
        start(bus, db1)
    with pytest.raises(Forbidden):
        finish(bus, db1)
    assert Job.get().state == "running"


def test_reports_of_a_revoked_host_are_refused(bus, web1, group):
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    with pytest.raises(Forbidden):
        start(bus, web1)
    with pytest.raises(Forbidden):
        finish(bus, web1)


def test_a_run_at_a_repository_of_others_is_not_believed_to_be_there(bus, vault, web1, db1, group):
    cast.give_repository(bus, vault, db1)

    job = start(bus, web1, repository_id=cast.host_row(db1).repository_id)

    assert job.repository_id is None


def test_a_host_has_at_most_fifty_fired_runs_open(bus, web1, group):
    for number in range(50):
        start(bus, web1, run_id(tail=number))

    with pytest.raises(Conflict):
        start(bus, web1, run_id(tail=99))
    assert finish(bus, web1, run_id(tail=99)).outcome == "succeeded"


def test_a_host_reports_no_more_runs_of_a_day_than_it_can_have(bus, web1, group, monkeypatch):
    monkeypatch.setattr(fired_jobs.rules, "MAX_A_DAY", 3)
    for number in range(3):
        finish(bus, web1, run_id(tail=number))

    with pytest.raises(Conflict):
        finish(bus, web1, run_id(tail=99))
    finish(bus, web1, due=DUE - timedelta(days=1))


def test_open_fired_runs_take_no_place_in_the_queue(bus, web1, group):
    for number in range(25):
        start(bus, web1, run_id(tail=number), source_group=f"group {number}")

    assert jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW).state == "queued"


# ---- skipped ----


def skip(bus, host, report_id=None, *, count=1, due=DUE, until=None, **more):
    report = RunsSkipped(
        source_group="files", schedule_id="S1", due_from=instants.to_text(due),
        due_to=instants.to_text(until or due), count=count, reason="asleep", message="It slept.", **more,
    )  # fmt: skip
    skipped_runs.keep(bus, host_id=host.id, report_id=report_id or ids.new_ulid(), report=report, now=NOW)


def test_runs_that_did_not_take_place_are_kept_with_the_reason_once(bus, web1, group):
    report_id = ids.new_ulid()
    for _ in range(3):
        skip(bus, web1, report_id, count=100_000, due=DUE - timedelta(days=300), until=DUE, job_id=run_id())

    [kept] = stored_skips.list_for_host(web1.id)
    assert (kept.count, kept.reason, kept.message, kept.job_id) == (100_000, "asleep", "It slept.", run_id())
    assert (kept.due_from, kept.due_to) == (DUE - timedelta(days=300), DUE)


@pytest.mark.parametrize(
    ("due", "until"), [(DUE, DUE - timedelta(hours=1)), (NOW + timedelta(days=2), NOW + timedelta(days=3))]
)
def test_runs_that_cannot_have_been_due_are_refused(bus, web1, group, due, until):
    with pytest.raises(Conflict):
        skip(bus, web1, due=due, until=until)
    assert SkippedRun.select().count() == 0


def test_only_the_latest_of_very_many_are_kept(bus, web1, db1, group, monkeypatch):
    monkeypatch.setattr(skipped_runs, "MAX_KEPT", 3)
    skip(bus, db1)
    for minutes in (50, 40, 30, 20, 20, 20):
        skip(bus, web1, due=NOW - timedelta(minutes=minutes))

    assert [one.due_to for one in stored_skips.list_for_host(web1.id)] == [NOW - timedelta(minutes=20)] * 3
    assert len(stored_skips.list_for_host(db1.id)) == 1


def test_a_host_that_is_gone_skips_nothing(bus, web1):
    Host.delete().where(Host.id == web1.id).execute()

    with pytest.raises(NotFound):
        skip(bus, web1)
