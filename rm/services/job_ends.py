"""The end of a job: kept once, counted for its day, and told to who waits."""

from datetime import datetime

from rm.domain import maintenance
from rm.events import EventBus, HostChanged, JobChanged, JobQueued, RepositoryChanged
from rm.services import maintenance_ends, repository_alerts, verdicts
from rm.services.job_dispatch import wake_waiting
from rm.store import jobs, repositories
from rm.store.database import publish_after_commit
from rm.store.models import BackupDay, Host, Job, Repository


def end(
    bus: EventBus,
    job: Job,
    *,
    outcome: str,
    now: datetime,
    reason: str,
    message: str,
    exit_code: int | None = None,
    summary: dict[str, object] | None = None,
    started_at: datetime | None = None,
    heard_at: datetime | None = None,
) -> None:
    """End a job, once: whoever waits for it is looked at again, and a backup counts for its host's day.

    `now` is when it ended, `heard_at` when that became known, if later.
    """
    before = job.outcome
    changed = (
        Job.update(
            state="finished",
            outcome=outcome,
            finished_at=now,
            reason=reason,
            message=message,
            exit_code=exit_code,
            summary=summary or {},
            started_at=started_at or job.started_at,
            waits_for="",
        )
        .where(Job.id == job.id, (Job.state != "finished") | (Job.outcome == "lost"))
        .execute()
    )
    if not changed:
        return
    if reason == "append_only" and job.repository_id and not repositories.has_maintenance(job.repository_id):
        Repository.update(is_append_only=True).where(Repository.id == job.repository_id).execute()
        publish_after_commit(bus, RepositoryChanged(job.repository_id))
    wake_waiting(bus, job)
    if outcome in ("succeeded", "warnings") and job.repository_id:
        note = f"A job on {job.host.name} opened it."
        repository_alerts.opened(bus, repository_id=job.repository_id, at=now, note=note, now=heard_at or now)
    if job.kind == "backup":
        _roll_up(job, outcome=outcome, before=before, ended_at=now)
        verdicts.refresh(bus, host_id=job.host_id, now=heard_at or now)
    if job.kind in maintenance.KINDS:
        maintenance_ends.keep(bus, jobs.get(job.id), now=heard_at or now)
    publish_after_commit(bus, JobChanged(job.id, job.host_id), JobQueued(job.id, job.host_id), HostChanged(job.host_id))


_COLUMN = {"succeeded": "succeeded", "warnings": "warnings", "failed": "failed", "lost": "failed"}


def _roll_up(job: Job, *, outcome: str, before: str | None, ended_at: datetime) -> None:
    day = ended_at.strftime("%Y-%m-%d")
    if before in _COLUMN and job.finished_at is not None:
        _count_day(job.host_id, job.finished_at.strftime("%Y-%m-%d"), _COLUMN[before], -1)
    if outcome in _COLUMN:
        _count_day(job.host_id, day, _COLUMN[outcome], 1)
        Host.update(last_backup_id=job.id).where(
            Host.id == job.host_id, Host.last_backup_id.is_null() | (Host.last_backup_id <= job.id)
        ).execute()
    if outcome in ("succeeded", "warnings"):
        Host.update(last_good_at=ended_at, last_good_began_at=job.started_at).where(
            Host.id == job.host_id, Host.last_good_at.is_null() | (Host.last_good_at < ended_at)
        ).execute()


def _count_day(host_id: str, day: str, column: str, by: int) -> None:
    BackupDay.insert(host=host_id, day=day).on_conflict_ignore().execute()
    counter = getattr(BackupDay, column)
    BackupDay.update({counter: counter + by}).where(BackupDay.host == host_id, BackupDay.day == day).execute()
