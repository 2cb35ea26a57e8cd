"""Measures a repository after a job: at most once a day after backups, always after one that removed something."""

from agent.job import Job
from rm.shared.protocol import JobFinished, RepositoryStats


def measure(job: Job, finished: JobFinished) -> None:
    """Report how many bytes the repository holds, if that is due and can be told in time."""
    known, repository_id = job.around.known, job.order.repository_id
    if job.repository is None or finished.outcome not in ("succeeded", "warnings"):
        return
    is_due = job.order.kind in ("prune", "forget") or (
        job.order.kind == "backup" and known.is_measure_due(repository_id)
    )
    if not is_due:
        return
    found = job.repository.total_bytes(stop=job.around.stop)
    if job.around.stop.is_set():
        return
    known.measured(repository_id)
    if found is not None:
        job.around.outbox.add(RepositoryStats(repository_id=repository_id, total_bytes=found))
