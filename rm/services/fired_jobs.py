"""Jobs that begin with a report: runs that a host's own schedule fired."""

from datetime import datetime

from rm.domain import fired as rules
from rm.errors import Conflict, Forbidden, NotFound
from rm.shared import instants
from rm.shared.protocol import JobFinished, JobStarted
from rm.store import hosts, jobs
from rm.store.models import Job

REQUESTED_BY = "schedule"


def begin(*, host_id: str, report: JobStarted | JobFinished, now: datetime) -> Job:
    """A new running job for what the report tells of, inside the caller's transaction.

    Raises NotFound (unknown_job) for what is no fired run, Forbidden for a revoked host, Conflict for too many.
    """
    due_at = instants.from_text(report.due_at) if report.due_at else None
    host = hosts.get_reporter(host_id)
    problem = rules.problem(
        job_id=report.job_id, kind=report.kind, due_at=due_at, enrolled_at=host.enrolled_at, now=now
    )  # fmt: skip
    if problem is not None or due_at is None:
        raise NotFound(problem or "This server does not know that job.", code="unknown_job")
    if host.revoked_at is not None:
        raise Forbidden(f"{host.name} was revoked; its reports are not taken.", code="not_yours")
    if isinstance(report, JobStarted) and jobs.count_open_fired(host_id) >= rules.MAX_OPEN:
        raise Conflict(f"{host.name} says that more than {rules.MAX_OPEN} of its scheduled runs are open.")
    if jobs.count_fired_on(host_id, due_at, most=rules.MAX_A_DAY) >= rules.MAX_A_DAY:
        raise Conflict(f"{host.name} reports more than {rules.MAX_A_DAY:,} scheduled runs of one day.")
    # Only its own repository: a run elsewhere would have others wait for it.
    is_own = bool(report.repository_id) and report.repository_id == host.repository_id
    return Job.create(
        id=report.job_id,
        host=host_id,
        kind=report.kind,
        state="running",
        repository=host.repository_id if is_own else None,
        source_group=report.source_group or "",
        requested_by=REQUESTED_BY,
        created_at=min(due_at, now),
        expires_at=now,
        dispatched_at=now,
        last_sign_at=now,
        schedule_id=report.schedule_id or "",
        due_at=due_at,
        why_late=report.why_late or "",
        attempt=report.attempt,
    )
