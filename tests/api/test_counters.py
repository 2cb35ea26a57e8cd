"""Counters of /metrics count each thing once, and never go down."""

import pytest

from rm.domain.figures import PREFIX
from rm.services import alerts, job_reports, jobs, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import JobFinished
from rm.store.database import changes
from rm.store.models import (
    Host,
    Job,
)
from tests.api.scraping import HOUR, _ends, figures
from tests.cast import BOB, NOW, give_repository
from tests.updating import MINUTE, SECOND, at_target, ends, give_release, reports, says_hello, takes_orders


def test_jobs_are_counted_by_kind_and_outcome_and_timed(client, open_to, bus, web1):
    open_to("s3cret")
    _ends(bus, web1, "succeeded", seconds=5)
    _ends(bus, web1, "failed", seconds=120)
    _ends(bus, web1, "cancelled", seconds=7)

    found = figures(client)

    counts = [found["restic_manager_jobs_total", "backup", one] for one in ("succeeded", "failed", "cancelled")]
    assert counts == [1, 1, 1]
    name = "restic_manager_job_duration_seconds"
    edges = ("10.0", "60.0", "300.0", "+Inf")
    assert [found[f"{name}_bucket", "backup", edge] for edge in edges] == [1, 1, 2, 2]
    assert found[f"{name}_count", "backup"] == 2
    assert found[f"{name}_sum", "backup"] == pytest.approx(125, abs=0.01)


def test_no_counter_goes_down_when_a_host_and_its_history_are_removed(client, open_to, bus, web1, db1):
    open_to("s3cret")
    give_release()
    says_hello(bus, web1)
    _ends(bus, web1, "succeeded")
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    takes_orders(bus, web1)
    ends(bus, web1, attempt, "failed", phase="downloading", reason="disk_full")
    with changes():
        alerts.raise_alert(
            bus, kind="backup_failed", condition=f"host:{web1.id}", message="It failed.", host_id=web1.id, now=NOW
        )
    before = {key: value for key, value in figures(client).items() if key[0].endswith(("_total", "_count", "_bucket"))}
    before = {key: value for key, value in before.items() if key[0].startswith(PREFIX)}

    Host.delete().where(Host.id == web1.id).execute()

    after = figures(client)
    assert Job.select().count() == 0
    assert sum(value for key, value in before.items() if key[0] == "restic_manager_jobs_total") == 2
    assert {key: (value, after.get(key)) for key, value in before.items() if after.get(key) != value} == {}


def test_a_lost_job_that_is_heard_of_later_counts_again_and_takes_nothing_away(client, open_to, bus, web1):
    open_to("s3cret")
    job = _ends(bus, web1, "lost")

    job_reports.finished(bus, host_id=web1.id, report=JobFinished(job_id=job.id, outcome="succeeded"), now=NOW + HOUR)

    found = figures(client)
    assert [found["restic_manager_jobs_total", "backup", one] for one in ("lost", "succeeded")] == [1, 1]


def test_a_repeated_report_counts_once(client, open_to, bus, web1):
    open_to("s3cret")
    job = _ends(bus, web1, "succeeded")

    job_reports.finished(bus, host_id=web1.id, report=JobFinished(job_id=job.id, outcome="succeeded"), now=NOW + HOUR)

    assert figures(client)["restic_manager_jobs_total", "backup", "succeeded"] == 1


def test_jobs_that_have_not_ended_are_told(client, open_to, bus, vault, web1):
    open_to("s3cret")
    give_repository(bus, vault, web1)
    jobs.order(bus, host_id=web1.id, kind="snapshots", actor=BOB, now=NOW)

    assert figures(client)["restic_manager_jobs_open", "snapshots", "queued"] == 1


def test_figures_of_updates_are_read_from_the_database(client, open_to, bus, web1, db1):
    open_to("s3cret")
    release = give_release()
    for host, outcome in ((web1, "committed"), (db1, "")):
        says_hello(bus, host)
        attempt = updates.order(bus, host_id=host.id, actor=BOB, now=NOW)
        takes_orders(bus, host)
        reports(bus, host, attempt, "downloading", now=NOW + SECOND)
        reports(bus, host, attempt, "swapping", now=NOW + 5 * SECOND)
        if outcome:
            says_hello(bus, host, now=NOW + 9 * SECOND, **at_target(release))
            ends(bus, host, attempt, outcome, now=NOW + MINUTE)
    updates.sweep(bus, now=NOW + 2 * MINUTE)

    before = figures(client)
    says_hello(bus, db1, now=NOW + 3 * MINUTE, **at_target(release))
    after = figures(client)

    name = "restic_manager_update_attempts_total"
    assert before[name, "update", "committed", "succeeded"] == 1
    assert before[name, "update", "no_hello", "failed"] == 1
    assert before["restic_manager_update_provisional_verdicts_total",] == 1
    assert before["restic_manager_update_corrections_total",] == 0
    assert before["restic_manager_agents", "1", "0.1.0"] == 1
    assert before["restic_manager_hosts_behind",] == 1
    assert before["restic_manager_update_phase_seconds", "downloading", "0.5"] == 4
    assert after[name, "update", "no_hello", "failed"] == 1
    assert after[name, "update", "late_hello", "succeeded"] == 1
    assert after["restic_manager_update_corrections_total",] == 1
    assert after["restic_manager_update_provisional_verdicts_total",] == 1
    assert after["restic_manager_agents", "2", "0.2.0"] == 2


def test_a_host_that_makes_up_reasons_does_not_make_up_series(client, open_to, bus, web1):
    open_to("s3cret")
    give_release()
    says_hello(bus, web1)
    for n in range(120):
        attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
        takes_orders(bus, web1)
        ends(bus, web1, attempt, "failed", phase="downloading", reason=f"reason {n}")

    found = [name for name in figures(client) if name[0] == "restic_manager_update_attempts_total"]

    assert len(found) == 101
    assert figures(client)["restic_manager_update_attempts_total", "update", "other", "failed"] == 20


def test_versions_that_hosts_make_up_do_not_make_up_series_without_end(client, open_to):
    open_to("s3cret")
    for n in range(120):
        Host.create(
            id=new_ulid(), name=f"host{n}", hostname=f"host{n}", os="linux", arch="amd64", agent_version=f"9.{n}",
            enrolled_at=NOW,
        )  # fmt: skip

    found = {key: value for key, value in figures(client).items() if key[0] == "restic_manager_agents"}

    assert len(found) == 101
    assert found["restic_manager_agents", "other", "other"] == 20
