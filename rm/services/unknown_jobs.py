"""Ends of jobs that this database does not know because it was restored from a backup of before."""

from datetime import datetime, timedelta
from typing import Any

from rm.domain.actors import Actor
from rm.services import audit
from rm.shared import ids, instants
from rm.shared.protocol import JobFinished
from rm.store import hosts, kept_settings, updates
from rm.store.database import changes
from rm.store.models import OrphanResult
from rm.store.restoring import MARK

MAX_ORPHANS = 100
SLACK = timedelta(minutes=5)


def keep(*, host_id: str, report: JobFinished, now: datetime) -> None:
    """Keep that a host reported the end of a job that was ordered between the backup and its restore; else nothing."""
    mark = kept_settings.get(MARK, None)
    if mark is None or not _was_lost(report.job_id, mark):
        return
    with changes():
        if updates.has_orphan(host_id, report.job_id, report.outcome) or updates.count_orphans(host_id) >= MAX_ORPHANS:
            return
        host = hosts.get(host_id)
        words = ": ".join(part for part in (report.reason, report.message) if part)
        OrphanResult.create(
            host=host_id, attempt_id=report.job_id, at=now, outcome=report.outcome, detail=words[:2000]
        )  # fmt: skip
        audit.record(
            Actor(kind="host", name=host.name, id=host_id), "job.unknown_result", now=now, kind="host", id=host_id,
            name=host.name, job=report.job_id, outcome=report.outcome,
            snapshot=str(report.summary.get("snapshot_id", ""))[:64],
        )  # fmt: skip


def _was_lost(job_id: str, mark: dict[str, Any]) -> bool:
    made = ids.milliseconds_of(job_id) / 1000
    since, until = (instants.from_text(mark[name]).timestamp() for name in ("taken_at", "at"))
    return since - SLACK.total_seconds() <= made <= until + SLACK.total_seconds()
