"""What happens to repositories in the tests of their upkeep."""

from datetime import timedelta

from rm.services import jobs, maintenance
from rm.services.maintenance_outlook import outlook
from rm.shared import instants
from rm.shared.protocol import CommandRun, JobFinished, JobStarted
from rm.store import maintenance as store
from rm.store.models import Host, Job, MaintenancePolicy

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)


def disconnect(*names):
    Host.update(connected_at=None).where(Host.name.in_(names)).execute()


def only(repository_id, kind):
    """Switch the other kinds off."""
    MaintenancePolicy.update(is_enabled=False).where(
        MaintenancePolicy.repository == repository_id, MaintenancePolicy.kind != kind
    ).execute()


def swept(bus, now):
    """The job that a sweep ordered, after every host gave a sign of life."""
    Host.update(last_seen_at=now).where(Host.connected_at.is_null(False)).execute()
    before = {job.id for job in Job.select(Job.id)}
    maintenance.sweep(bus, now=now)
    made = [job for job in Job.select() if job.id not in before]
    assert len(made) <= 1
    return made[0] if made else None


def run(bus, job, now, *, took=10 * MINUTE, outcome="succeeded", **more):
    """The agent carries the job out."""
    start(bus, job, now)
    end(bus, job, now + took, outcome=outcome, **more)


def start(bus, job, now):
    assert [order.job_id for order in orders_for(bus, job.host_id, now)] == [job.id]
    report = JobStarted(job_id=job.id, started_at=instants.to_text(now), command=f"restic {job.kind}")
    jobs.started(bus, host_id=job.host_id, report=report, now=now)


def end(bus, job, now, *, outcome="succeeded", reason="", message="", summary=None):
    report = JobFinished(
        job_id=job.id, outcome=outcome, finished_at=instants.to_text(now), exit_code=0, reason=reason,
        message=message, summary=summary or {},
    )  # fmt: skip
    jobs.finished(bus, host_id=job.host_id, report=report, now=now)


def orders_for(bus, host_id, now):
    return [order for order in jobs.next_orders(host_id=host_id, now=now, bus=bus) if isinstance(order, CommandRun)]


def policy(repository_id, kind):
    return store.get(repository_id, kind)


def next_of(repository_id, kind, now):
    return next(one.decision for one in outlook(repository_id, now=now) if one.policy.kind == kind)


def cast_id(name):
    return Host.get(Host.name == name).id
