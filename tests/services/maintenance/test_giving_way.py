"""Who gives way to whom, and how long."""

import threading
from datetime import timedelta

from rm.services import jobs, maintenance, maintenance_policies, verdicts
from rm.shared.protocol import GroupState
from rm.store.database import db
from rm.store.models import Alert, Host, Job, MaintenancePolicy, Repository
from tests.cast import BOB, NOW
from tests.services.maintenance.acting import (
    DAY,
    HOUR,
    MINUTE,
    cast_id,
    disconnect,
    end,
    next_of,
    only,
    orders_for,
    policy,
    start,
    swept,
)


def backup_waits(bus, host, now, *, ago):
    """A backup that the host's own schedule started, and that waits for restic's lock."""
    job = jobs.queue(bus, host=Host.get(Host.name == host), kind="backup", source_group="files", actor=BOB, now=now)
    Job.update(
        state="running", dispatched_at=now - ago, started_at=now - ago, progress={"phase": "waiting"}, last_sign_at=now
    ).where(Job.id == job.id).execute()
    return job


def test_a_prune_gives_way_to_waiting_backups_three_times_and_then_runs_to_its_end(bus, place):
    only(place, "prune")
    now, gave_way = NOW + 7 * DAY, []
    for _ in range(4):
        job = swept(bus, now)
        start(bus, job, now)
        backup = backup_waits(bus, "web1" if job.host.name == "db1" else "db1", now + 5 * MINUTE, ago=2 * MINUTE)
        assert swept(bus, now + 5 * MINUTE) is None
        job = Job.get_by_id(job.id)
        gave_way.append(job.cancel_requested_by)
        if job.cancel_requested_at is None:
            break
        end(bus, job, now + 6 * MINUTE, outcome="cancelled", reason="cancelled", message="Cancelled.")
        end(bus, backup, now + 7 * MINUTE)
        assert policy(place, "prune").last_message.startswith("Gave way to the backup of ")
        assert swept(bus, now + 15 * MINUTE) is None
        now += 16 * MINUTE

    assert gave_way == ["server", "server", "server", ""]
    assert policy(place, "prune").yields == 3
    assert Alert.select().count() == 0


def test_a_prune_gives_way_to_an_ordered_backup_that_waits_for_its_turn(bus, place, web1, db1):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    other = web1 if job.host_id == db1.id else db1
    jobs.queue(bus, host=Host.get_by_id(other.id), kind="backup", source_group="files", actor=BOB, now=now + MINUTE)
    assert orders_for(bus, other.id, now + MINUTE) == []

    swept(bus, now + 90 * timedelta(seconds=1))
    assert Job.get_by_id(job.id).cancel_requested_at is None
    swept(bus, now + 3 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"


def test_a_prune_gives_way_to_a_scheduled_backup_that_waits_in_the_agent_that_prunes(bus, place):
    only(place, "prune")
    disconnect("db1")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    for job_id, code in (("01JDOTHER", "waiting"), (job.id, "idle"), (job.id, "waiting")):
        why = f"Waits for the end of the prune (job {job_id})."
        said = GroupState(source_group="files", code=code, why=why)
        verdicts.reported(bus, host_id=job.host_id, groups=[said], now=now + MINUTE)
        before = Job.get_by_id(job.id).cancel_requested_by

        swept(bus, now + 3 * MINUTE)

    assert before == "", "nothing waited for this one until then"
    assert Job.get_by_id(job.id).cancel_requested_by == "server"
    assert policy(place, "prune").last_message == f"Gave way to the backup of {job.host.name}."


def test_a_prune_that_was_asked_to_give_way_within_its_box_did_so_even_if_it_ended_after_it(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    box = timedelta(seconds=job.parameters["time_box_seconds"])
    asked = now + box - timedelta(seconds=5)
    backup_waits(bus, "web1" if job.host.name == "db1" else "db1", asked, ago=2 * MINUTE)
    swept(bus, asked)

    end(bus, job, now + box + timedelta(seconds=5), outcome="cancelled", reason="cancelled", message="Cancelled.")

    assert (policy(place, "prune").last_outcome, policy(place, "prune").yields) == ("gave_way", 1)
    assert Alert.select().count() == 0


def test_a_restore_never_waits_for_a_prune_however_often_that_gave_way(bus, place, db1, web1):
    only(place, "prune")
    MaintenancePolicy.update(yields=9).execute()
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    other = "web1" if job.host_id == db1.id else "db1"
    jobs.queue(bus, host=Host.get(Host.name == other), kind="restore", actor=BOB, now=now)

    swept(bus, now + 2 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"


def test_what_a_person_ordered_by_hand_is_left_alone(bus, place):
    job = jobs.order(bus, host_id=cast_id("db1"), kind="prune", actor=BOB, now=NOW)
    start(bus, job, NOW)
    backup_waits(bus, "web1", NOW + 5 * MINUTE, ago=4 * MINUTE)

    swept(bus, NOW + 5 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_at is None


def test_a_job_past_its_time_box_is_ended_from_here_when_its_agent_does_not(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)

    swept(bus, now + 4 * HOUR)
    assert Job.get_by_id(job.id).cancel_requested_at is None
    swept(bus, now + 4 * HOUR + 6 * MINUTE)
    end(bus, job, now + 4 * HOUR + 7 * MINUTE, outcome="cancelled", reason="cancelled")

    assert policy(place, "prune").last_outcome == "time_box"


def test_a_job_whose_host_went_before_it_was_sent_is_given_to_another(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    first = swept(bus, now)
    disconnect(first.host.name)

    assert swept(bus, now + 5 * MINUTE) is None
    second = swept(bus, now + 11 * MINUTE)

    assert second.host_id != first.host_id
    assert Job.get_by_id(first.id).outcome == "cancelled"
    assert policy(place, "prune").last_ended_at is None


def test_a_job_that_did_not_get_its_turn_within_the_window_is_taken_back(bus, place):
    only(place, "prune")
    MaintenancePolicy.update(window_from="12:00", window_to="14:00").execute()
    job = swept(bus, NOW + 7 * DAY)

    assert swept(bus, NOW + 7 * DAY + 2 * HOUR) is None

    assert Job.get_by_id(job.id).outcome == "cancelled"
    assert next_of(place, "prune", NOW + 7 * DAY + 3 * HOUR).at == NOW + 8 * DAY


def test_however_many_are_due_at_once_each_has_its_turn(bus, place):
    for number in range(5):
        other = Repository.create(
            id=f"R{number}" * 13, name=f"other {number}", location="/srv", password_sealed=b"x",
            restic_repository_id="cd" * 32, created_at=NOW, changed_at=NOW,
        )  # fmt: skip
        maintenance_policies.ensure(repository_id=other.id, now=NOW)
        Host.create(
            id=f"H{number}" * 13, name=f"other{number}", hostname="other", os="linux", arch="amd64", enrolled_at=NOW,
            repository=other.id, connected_at=NOW, last_seen_at=NOW + 8 * DAY, restic_version="0.14.0",
        )  # fmt: skip
    Host.update(last_seen_at=NOW + 8 * DAY).execute()

    after = maintenance.sweep(bus, now=NOW + 8 * DAY, most=4)
    assert after
    assert Job.select().count() == 4
    maintenance.sweep(bus, now=NOW + 8 * DAY, after=after, most=4)

    assert Job.select(Job.repository).distinct().count() == 6


def test_many_repositories_are_looked_at_a_few_at_a_time(bus, place):
    Repository.insert_many(
        {"id": f"R{number:025}", "name": f"other {number}", "location": "/srv", "password_sealed": b"x",
         "restic_repository_id": "cd" * 32, "created_at": NOW, "changed_at": NOW}
        for number in range(120)
    ).execute()  # fmt: skip
    held = []

    # as the scheduler calls it: without a connection of its own
    sweep = threading.Thread(
        target=lambda: maintenance.sweep(bus, now=NOW, pause=lambda: held.append(not db.is_closed()))
    )
    sweep.start()
    sweep.join(60)

    assert held == [False] * 3


def test_who_is_kept_waiting_does_not_wait_for_the_turn_of_many_others(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    backup_waits(bus, "web1" if job.host.name == "db1" else "db1", now + 5 * MINUTE, ago=2 * MINUTE)

    maintenance.sweep(bus, now=now + 5 * MINUTE, most=0)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"
