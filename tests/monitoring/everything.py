"""A database in which every figure has something to say."""

from datetime import timedelta

from rm.events import EventBus
from rm.services import alerts, job_reports, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import JobFinished, JobStarted
from rm.store.database import changes, db
from rm.store.models import (
    Channel,
    Delivery,
    FleetUpdate,
    FleetUpdateHost,
    Incident,
    Job,
    MaintenancePolicy,
    Repository,
    ServerBackup,
)
from tests.cast import BOB, NOW, EnrolledHost, backed_up, nightly
from tests.updating import MINUTE, SECOND, ends, give_release, reports, says_hello, takes_orders

HOUR = timedelta(hours=1)


def fill(bus: EventBus, host: EnrolledHost, other: EnrolledHost) -> None:
    """Some of everything, through the services where counting depends on them."""
    nightly(bus, host)
    backed_up(bus, host.id, NOW - HOUR)
    job = Job.create(
        id=new_ulid(), host=host.id, kind="backup", state="queued", created_at=NOW, expires_at=NOW + HOUR,
        dispatched_at=NOW,
    )  # fmt: skip
    job_reports.started(bus, host_id=host.id, report=JobStarted(job_id=job.id), now=NOW)
    job_reports.finished(bus, host_id=host.id, report=JobFinished(job_id=job.id, outcome="failed"), now=NOW + MINUTE)
    _updates(bus, host, other)
    repository = Repository.create(
        id=new_ulid(), name="store", location="rest:http://127.0.0.1/", password_sealed=b"-", total_bytes=5,
        snapshot_count=7, checked_at=NOW, check_ok=True, pruned_at=NOW, created_at=NOW, changed_at=NOW,
    )  # fmt: skip
    MaintenancePolicy.create(
        repository=repository.id, kind="prune", every_hours=24, box_minutes=60, last_started_at=NOW - HOUR,
        last_ended_at=NOW, changed_at=NOW,
    )  # fmt: skip
    with changes():
        alerts.raise_alert(bus, kind="agent_offline", condition=f"host:{host.id}", message="Silent.", now=NOW)
    Incident.create(
        id=new_ulid(), cause="something", title="Something", severity="warning", opened_at=NOW, last_seen_at=NOW
    )
    channel = Channel.create(
        id=new_ulid(), name="mail", kind="apprise", url_sealed=b"-", url_shown="mailto://", created_at=NOW,
        changed_at=NOW,
    )  # fmt: skip
    Delivery.create(id=new_ulid(), channel=channel.id, event="raised", payload={}, created_at=NOW)
    ServerBackup.create(id=new_ulid(), file="a", started_at=NOW, ended_at=NOW, size_bytes=9, is_ok=True)
    db.execute_sql("UPDATE group_verdicts SET next_at = '2026-11-24T03:15:00.000000Z'")


def _updates(bus: EventBus, host: EnrolledHost, other: EnrolledHost) -> None:
    """An attempt that ended, one that has not, and a fleet update that runs."""
    release = give_release()
    for one in (host, other):
        says_hello(bus, one)
        attempt = updates.order(bus, host_id=one.id, actor=BOB, now=NOW)
        takes_orders(bus, one)
        reports(bus, one, attempt, "downloading", now=NOW + SECOND)
        reports(bus, one, attempt, "verifying", now=NOW + 5 * SECOND)
        if one is host:
            ends(bus, one, attempt, "failed", phase="verifying", reason="disk_full")
    running = FleetUpdate.create(
        id=new_ulid(), state="running", release=release.id, to_version="0.2.0", to_seq=2, created_by="alice",
        created_at=NOW,
    )  # fmt: skip
    FleetUpdateHost.create(
        fleet_update=running.id, host=other.id, position=0, verdict="will_update", state="updating", changed_at=NOW
    )
