"""What agents report of jobs: those that were ordered, and those that their own schedules fired."""

from datetime import datetime

from rm.domain import jobs as rules
from rm.domain.actors import SERVER
from rm.errors import Conflict, Forbidden, NotFound
from rm.events import EventBus, HostChanged, JobChanged
from rm.services import audit, fired_jobs, unknown_jobs
from rm.services.job_dispatch import wake_waiting
from rm.services.job_ends import end
from rm.shared import instants
from rm.shared.protocol import JobFinished, JobStarted
from rm.store import jobs
from rm.store.database import changes, publish_after_commit
from rm.store.models import Job


def owner_of(job_id: str) -> str | None:
    """The host whose job this is, or None for a job nobody knows."""
    return jobs.owner_of(job_id)


def started(bus: EventBus, *, host_id: str, report: JobStarted, now: datetime) -> None:
    """Take a report of a start; raises NotFound, Forbidden or Conflict. Repeating it changes nothing.

    A job that is not known yet begins with it, if the host's own schedule fired it.
    """
    with changes():
        job = _own(host_id, report, now)
        if job.state == "running" and job.started_at is None:
            _begin(bus, job, report, now)
            return
        if rules.on_started(facts_of(job)) != rules.APPLY:
            Job.update(last_sign_at=now).where(Job.id == job.id, Job.state == "running").execute()
            return
        _begin(bus, job, report, now)


def finished(bus: EventBus, *, host_id: str, report: JobFinished, now: datetime) -> None:
    """Take the end of a job, once. Raises NotFound, Forbidden, or Conflict for an end that contradicts a known one.

    The end of a job that was ordered between a backup of this database and its restore is kept as that of a stranger.
    """
    try:
        _finished(bus, host_id=host_id, report=report, now=now)
    except NotFound:
        unknown_jobs.keep(host_id=host_id, report=report, now=now)
        raise


def _finished(bus: EventBus, *, host_id: str, report: JobFinished, now: datetime) -> None:
    with changes():
        job = _own(host_id, report, now)
        what = rules.on_finished(facts_of(job), report.outcome)
        if what == rules.REPEAT:
            return
        if what == rules.CONFLICT:
            raise Conflict(f"This job ended as {job.outcome} already.")
        if job.outcome == "lost":
            audit.record(
                SERVER,
                "job.corrected",
                now=now,
                kind="job",
                id=job.id,
                name=job.kind,
                was="lost",
                now_is=report.outcome,
            )
        end(
            bus,
            job,
            outcome=report.outcome,
            now=_not_later(report.finished_at, now),
            reason=report.reason,
            message=report.message,
            exit_code=report.exit_code,
            summary=report.summary,
            started_at=job.started_at or (_not_later(report.started_at, now) if report.started_at else None),
            heard_at=now,
        )


def _begin(bus: EventBus, job: Job, report: JobStarted, now: datetime) -> None:
    Job.update(
        state="running",
        started_at=_not_later(report.started_at, now),
        dispatched_at=job.dispatched_at or now,
        last_sign_at=now,
        command=report.command,
    ).where(Job.id == job.id, Job.state != "finished").execute()
    publish_after_commit(bus, JobChanged(job.id, job.host_id), HostChanged(job.host_id))
    wake_waiting(bus, job)


def _own(host_id: str, report: JobStarted | JobFinished, now: datetime) -> Job:
    job = jobs.find(report.job_id)
    if job is None:
        return fired_jobs.begin(host_id=host_id, report=report, now=now)
    if job.host_id != host_id:
        raise Forbidden("That job belongs to another host.", code="not_yours")
    if job.kind == rules.UPDATE:
        raise Conflict("An update is reported by update.progress and update.result.")
    return job


def facts_of(job: Job) -> rules.JobFacts:
    """What the rules need to know of a job."""
    return rules.JobFacts(
        state=job.state,
        outcome=job.outcome,
        is_dispatched=job.dispatched_at is not None,
        is_cancel_requested=job.cancel_requested_at is not None,
    )


def _not_later(text: str | None, now: datetime) -> datetime:
    # A host whose clock is ahead must not end jobs in the future.
    return min(instants.from_text(text), now) if text else now
