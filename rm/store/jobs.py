"""Named queries about jobs and their logs."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from peewee import fn

from rm.domain.jobs import UPDATE
from rm.errors import NotFound
from rm.shared import ids
from rm.store import quick_rows
from rm.store.database import db
from rm.store.models import Host, Job, JobLogLine, JobSample


def find(job_id: str) -> Job | None:
    return quick_rows.by_id(Job, job_id)


def owner_of(job_id: str) -> str | None:
    """The id of the host whose job this is, or None for a job nobody knows."""
    return Job.select(Job.host).where(Job.id == job_id).scalar()


def get(job_id: str) -> Job:
    """The job with its host; raises NotFound."""
    job = quick_rows.with_host(find(job_id))
    if job is None:
        raise NotFound("There is no such job.", help="It may have been removed with its host.")
    return job


def list_for_host(host_id: str, *, limit: int = 20, before_id: str | None = None) -> list[Job]:
    """The newest jobs of a host first; `before_id` pages on."""
    query = Job.select().where(Job.host == host_id)
    if before_id:
        query = query.where(Job.id < before_id)
    return list(query.order_by(Job.id.desc()).limit(limit))


def count_for_host(host_id: str) -> int:
    return Job.select().where(Job.host == host_id).count()


def open_for_host(host_id: str) -> list[Job]:
    """The queued and running jobs of a host, oldest first."""
    return quick_rows.load(Job, "host_id = ? AND state <> 'finished' ORDER BY id", host_id)


def count_open_fired(host_id: str) -> int:
    """How many runs of its own schedules a host says are open."""
    return Job.select().where(Job.host == host_id, Job.state != "finished", Job.due_at.is_null(False)).count()


def count_fired_on(host_id: str, due_at: datetime, *, most: int) -> int:
    """How many jobs of a host have ids of that UTC day, counted up to `most`; a fired run's id carries its due time."""
    day = due_at.replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = (ids.ulid(int(moment.timestamp() * 1000), 0) for moment in (day, day + timedelta(days=1)))
    of_day = Job.select(Job.id).where(Job.host == host_id, Job.id >= first, Job.id < last).limit(most)
    return of_day.count()


def has_open(host_id: str) -> bool:
    query = "SELECT 1 FROM jobs WHERE host_id = ? AND state <> 'finished' LIMIT 1"
    return db.execute_sql(query, (host_id,)).fetchone() is not None


def list_for_dispatch(host_id: str) -> list[Job]:
    """The open jobs of a host and of every repository that they use, oldest first, with their hosts."""
    used = Job.select(Job.repository).where(
        Job.host == host_id, Job.state != "finished", Job.repository.is_null(False)
    )  # fmt: skip
    query = Job.select(Job, Host).join(Host).where(
        Job.state != "finished", (Job.host == host_id) | Job.repository.in_(used)
    )  # fmt: skip
    return list(query.order_by(Job.id))


def list_waiting(repository_ids: list[str] | None = None, *, limit: int = 500) -> list[Job]:
    """The ids of jobs that were held back, and of their hosts: in all, or at these repositories."""
    query = Job.select(Job.id, Job.host).where(
        Job.state != "finished", Job.state == "queued", Job.dispatched_at.is_null(), Job.waits_for != ""
    )
    if repository_ids is not None:
        query = query.where(Job.repository.in_(repository_ids))
    return list(query.order_by(Job.id).limit(limit))


def open_for_repository(repository_id: str, *, limit: int = 50) -> list[Job]:
    """The queued and running jobs at a repository, oldest first, with their hosts."""
    query = Job.select(Job, Host).join(Host).where(Job.repository == repository_id, Job.state != "finished")
    return list(query.order_by(Job.id).limit(limit))


def open_of_repositories(repository_ids: Sequence[str]) -> dict[str, list[Job]]:
    """The queued and running jobs at each of these repositories, oldest first, with their hosts."""
    found: dict[str, list[Job]] = {}
    query = Job.select(Job, Host).join(Host).where(Job.repository.in_(repository_ids), Job.state != "finished")
    for job in query.order_by(Job.id):
        found.setdefault(job.repository_id, []).append(job)
    return found


def list_for_repository(repository_id: str, *, limit: int = 10) -> list[Job]:
    """The newest jobs that kept a repository in order, with their hosts."""
    query = Job.select(Job, Host).join(Host).where(
        Job.repository == repository_id, Job.kind.in_(("init", "check", "unlock", "prune", "forget"))
    )  # fmt: skip
    return list(query.order_by(Job.id.desc()).limit(limit))


def list_queued_until(now: datetime) -> list[Job]:
    """The jobs that waited in the queue until their time ran out."""
    return list(
        Job.select()
        # "not finished" besides: only so does SQLite use the index of open jobs
        .where(
            Job.state != "finished",
            Job.state == "queued",
            Job.dispatched_at.is_null(),
            Job.expires_at <= now,
            Job.kind != UPDATE,
        )
        .limit(500)
    )


def list_silent_since(instant: datetime) -> list[Job]:
    """The jobs that were sent to a host and of which there was no sign since."""
    # dispatched_at is set together with last_sign_at, so the latter is never missing here
    return list(
        Job.select()
        .where(
            Job.state != "finished", Job.dispatched_at.is_null(False), Job.last_sign_at < instant, Job.kind != UPDATE
        )
        .limit(500)
    )


def counts_since(instant: datetime) -> dict[str, int]:
    """How many jobs ended since then by outcome, and how many are queued and running now."""
    ended = (
        Job.select(Job.outcome, fn.COUNT(Job.outcome).alias("n"))
        .where(Job.finished_at >= instant)
        .group_by(Job.outcome)
    )
    found = {"succeeded": 0, "warnings": 0, "failed": 0, "cancelled": 0, "lost": 0, "queued": 0, "running": 0}
    found |= {job.outcome: job.n for job in ended}
    open_jobs = Job.select(Job.state, fn.COUNT(Job.id).alias("n")).where(Job.state != "finished").group_by(Job.state)
    return found | {job.state: job.n for job in open_jobs}


def log_lines(job_id: str, *, after_n: int = 0, limit: int = 1000) -> list[JobLogLine]:
    """The lines after line `after_n`, in order."""
    query = JobLogLine.select().where(JobLogLine.job == job_id, JobLogLine.n > after_n)
    return list(query.order_by(JobLogLine.n).limit(limit))


def last_log_lines(job_id: str, *, limit: int = 1000) -> list[JobLogLine]:
    """The last lines, in order."""
    query = JobLogLine.select().where(JobLogLine.job == job_id).order_by(JobLogLine.n.desc()).limit(limit)
    return list(query)[::-1]


def samples(job_id: str) -> list[tuple[int, int]]:
    """Seconds since the start and bytes read by then, in order."""
    query = JobSample.select().where(JobSample.job == job_id).order_by(JobSample.elapsed_seconds)
    return [(sample.elapsed_seconds, sample.bytes_done) for sample in query]


def last_good_by_group(host_id: str) -> dict[str, datetime]:
    """When each source group of a host was last backed up well."""
    query = (
        Job.select(Job.source_group, fn.MAX(Job.finished_at).alias("at"))
        .where(Job.host == host_id, Job.kind == "backup", Job.outcome.in_(("succeeded", "warnings")))
        .group_by(Job.source_group)
    )
    return {job.source_group: job.at for job in query}
