"""Two hosts share a repository: maintenance gives way to backups, though not for ever, and always to a restore.

The server is the real one with shortened patience (tests/process/hurried.py); the agents and their restics are real.
"""

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from rm.store.models import Job, MaintenancePolicy, Repository
from tests.process.two_hosts import ASKED, EVERY, NIGHTLY, Machine, Stack, until
from tests.stopwatch import Stopwatch

BOX_SECONDS = 60
# An agent tells only every 30 seconds that a run waits behind its own job.
LONG_BOX_SECONDS = 150
EXCLUSIVE = ("check", "prune", "forget")

pytestmark = pytest.mark.restic


@pytest.fixture
def stack(app, bus, vault, settings, tmp_path, request) -> Iterator[Stack]:
    """db1 and web1 with one repository; a check of its data takes minutes, and a restore some seconds."""
    box = str(getattr(request, "param", BOX_SECONDS))
    found = Stack(bus, vault, settings.data_dir, tmp_path, app="tests.process.hurried:app", RM_TEST_BOX=box)
    place = tmp_path / "repository"
    try:
        found.set_up(str(place), place, behind=20 * EVERY)
        for machine in found.machines.values():
            machine.wrap_restic(
                'case "$1" in\n'
                "  check) set -- check --read-data --limit-download 8 ;;\n"
                '  restore) set -- "$@" --limit-download 64 ;;\n'
                "esac"
            )
            (machine.source / "much").write_bytes(os.urandom(1_500_000))
            found.back_up(machine)
        until(lambda: not found.open_jobs())
        yield found
    finally:
        found.close()


def running(kind: str) -> Job | None:
    """The job of that kind whose restic is at work."""
    return Job.get_or_none((Job.kind == kind) & (Job.state == "running") & Job.cancel_requested_at.is_null())


def at_work(stack: Stack, kind: str, *, but: str = "") -> Job:
    """The next job of that kind, once it holds the repository's lock."""

    def found() -> Job | None:
        job = running(kind)
        return job if job is not None and job.id != but and stack.locks() else None

    job: Job = until(found)
    return job


def ended(job_id: str) -> Job:
    def found() -> Job | None:
        job = Job.get_by_id(job_id)
        return job if job.state == "finished" else None

    job: Job = until(found)
    return job


def waits_out(stack: Stack, machine: Machine, *, is_scheduled: bool) -> tuple[Job, float]:
    """A backup of that host, ordered or fired by its schedule, with how long it took from then to its end."""
    began = Stopwatch()
    if is_scheduled:
        due = int(machine.let_come_due().timestamp())

        def fired() -> Job | None:
            rows = Job.select().where(Job.host == machine.host.id, Job.source_group == NIGHTLY)
            return next((job for job in rows if int(job.due_at.timestamp()) == due), None)

        job_id = until(fired).id
    else:
        job_id = stack.back_up(machine, ASKED)
    job = ended(job_id)
    return job, began.seconds


def policy(stack: Stack) -> MaintenancePolicy:
    return MaintenancePolicy.get(MaintenancePolicy.repository == stack.repository_id, MaintenancePolicy.kind == "check")


@pytest.mark.timeout(1500)
def test_a_check_gives_way_to_backups_three_times_then_runs_out_its_box_and_no_backup_waits_longer(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    db1, web1 = stack.machines["db1"], stack.machines["web1"]
    waited: dict[str, float] = {}
    last = ""
    stack.tidy("check")
    for number, is_scheduled in enumerate((False, True, True), start=1):
        check = at_work(stack, "check", but=last)
        (web1.source / "new").write_bytes(os.urandom(200_000))

        backup, seconds = waits_out(stack, web1, is_scheduled=is_scheduled)

        assert (backup.outcome, backup.reason) == ("succeeded", ""), backup.message
        gone = ended(check.id)
        assert (gone.outcome, gone.reason, gone.cancel_requested_by) == ("cancelled", "cancelled", "server"), number
        assert gone.finished_at <= backup.finished_at
        assert policy(stack).yields == number
        assert policy(stack).last_message == "Gave way to the backup of web1."
        waited[f"{'scheduled' if is_scheduled else 'ordered'} {number}"] = seconds
        last = check.id

    check = at_work(stack, "check", but=last)
    backup, seconds = waits_out(stack, web1, is_scheduled=True)
    waited["beside the one that need not give way"] = seconds

    assert (backup.outcome, backup.reason) == ("succeeded", ""), backup.message
    gone = ended(check.id)
    assert (gone.outcome, gone.reason) == ("cancelled", "time_box"), gone.message
    assert policy(stack).yields == 0, "it ran its time: the count begins anew"
    with capsys.disabled():
        print(
            f"\nbackups of web1 beside a check on {check.host.name} with a box of {BOX_SECONDS} s, from order to end: "
            + ", ".join(f"{name}: {seconds:.1f} s" for name, seconds in waited.items())
        )
    assert max(waited.values()) < BOX_SECONDS
    assert db1.host.id == check.host_id
    assert stack.locks() == []


@pytest.mark.parametrize("stack", [LONG_BOX_SECONDS], indirect=True)
@pytest.mark.timeout(900)
def test_a_check_gives_way_to_a_scheduled_backup_of_the_very_host_that_it_runs_on(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.tidy("check")
    check = at_work(stack, "check")
    own = next(machine for machine in stack.machines.values() if machine.host.id == check.host_id)

    backup, seconds = waits_out(stack, own, is_scheduled=True)

    gone = ended(check.id)
    with capsys.disabled():
        print(f"\na scheduled backup behind its own host's check took {seconds:.1f} s; the check: {gone.reason}")
    assert (backup.outcome, backup.reason) == ("succeeded", ""), backup.message
    assert (gone.outcome, gone.reason, gone.cancel_requested_by) == ("cancelled", "cancelled", "server"), gone.message
    assert policy(stack).last_message == f"Gave way to the backup of {own.host.name}."


@pytest.mark.timeout(900)
def test_nothing_runs_while_a_restore_reads_and_a_check_ends_for_it(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    web1 = stack.machines["web1"]
    snapshot = max(stack.restic("snapshots", "--host", "web1"), key=lambda one: one["time"])
    stack.tidy("check")
    check = at_work(stack, "check")
    body = {"snapshot_id": snapshot["id"], "everything": True}

    restore_id = stack.ask("POST", f"/hosts/{web1.host.id}/restores", body)["job_id"]
    until(lambda: Job.get_by_id(restore_id).state == "running")
    gone = ended(check.id)
    assert (gone.outcome, gone.cancel_requested_by) == ("cancelled", "server"), gone.message
    assert policy(stack).last_message == "Gave way to the restore of web1."
    pressed = stack.tidy("check") + stack.tidy("prune")
    restore = ended(restore_id)

    assert restore.outcome == "succeeded", restore.message
    first = min(ended_or_begun(job_id) for job_id in pressed)
    with capsys.disabled():
        took = (restore.finished_at - restore.started_at).total_seconds()
        print(
            f"\na restore read for {took:.1f} s; what was ordered meanwhile began"
            f" {(first - restore.finished_at).total_seconds():.1f} s after its end"
        )
    assert first >= restore.finished_at - timedelta(seconds=1)
    beside = [
        job
        for job in Job.select().where(Job.kind.in_(EXCLUSIVE), Job.started_at.is_null(False))
        if job.started_at < restore.finished_at - timedelta(seconds=1)
        and (job.finished_at is None or job.finished_at > restore.started_at + timedelta(seconds=1))
        and job.id != check.id
    ]
    assert beside == []


def ended_or_begun(job_id: str):
    """When the job began."""
    return until(lambda: Job.get_by_id(job_id).started_at)


@pytest.mark.timeout(900)
def test_a_server_that_is_killed_while_a_check_runs_frees_its_lease_when_that_has_truly_ended(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check is still at work when the server is back, so a backup waits; once it ended, the backup runs."""
    web1 = stack.machines["web1"]
    stack.tidy("check")
    check = at_work(stack, "check")

    stack.kill_server()
    assert stack.locks(), "the check goes on without a server"
    stack.start_server()
    until(lambda: all(host["status"] == "online" for host in stack.ask("GET", "/hosts")["items"]))
    again = Job.get_by_id(check.id)
    assert again.state == "running", "the lease is as true as before"
    backup, seconds = waits_out(stack, web1, is_scheduled=False)

    gone = ended(check.id)
    assert (gone.outcome, backup.outcome) == ("cancelled", "succeeded")
    assert gone.finished_at <= backup.started_at + timedelta(seconds=1)
    with capsys.disabled():
        print(f"\nafter kill -9 of the server beside a check, a backup took {seconds:.1f} s; the check: {gone.message}")


@pytest.mark.timeout(900)
def test_a_check_whose_restic_and_agent_die_while_the_server_is_dead_ends_truly_and_leaves_no_lock(
    stack: Stack,
) -> None:
    stack.tidy("check")
    check = at_work(stack, "check")
    own = next(machine for machine in stack.machines.values() if machine.host.id == check.host_id)
    other = next(machine for machine in stack.machines.values() if machine is not own)

    stack.kill_server()
    assert own.kill_restic()
    own.kill()
    assert stack.locks(), "the dead restic left its lock"
    stack.start_server()
    own.start()
    backup, _ = waits_out(stack, other, is_scheduled=False)

    gone = ended(check.id)
    assert gone.outcome == "failed" and gone.reason in ("interrupted", "restic_killed"), gone.message
    assert backup.outcome == "succeeded", backup.message
    assert Repository.get_by_id(stack.repository_id).check_ok is not False, "a check that was cut short found nothing"
    until(lambda: stack.locks() == [])
