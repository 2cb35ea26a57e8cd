"""Whether the repository at a place is still the one that it was: restic must not write into another one."""

from agent import upkeep
from agent.job import Job
from agent.repository import Repository
from rm.shared.protocol import RepositoryStats


def other_repository(job: Job, repository: Repository) -> str | None:
    """Why restic must not write here, None when nothing speaks against it.

    The server names the id that it knows; where an order names none, what the agent has seen before counts.
    """
    if job.order.kind not in upkeep.NEED_IDENTITY:
        return None
    known, repository_id = job.around.known, job.order.repository_id
    named = str(job.order.parameters.get("restic_repository_id") or "")
    expected = named or known.identity(repository_id)
    if not expected:
        return None
    # When it does not open, the job itself will tell why; that has words of its own.
    job.identity, _ = repository.identity()
    if job.identity is None:
        return None
    if job.identity == expected:
        if named and job.order.fired is None:
            known.remember(repository_id, named)
        return None
    job.around.outbox.add(RepositoryStats(repository_id=repository_id, restic_repository_id=job.identity))
    return (
        f"Another repository is at this place: its id is {job.identity[:10]}, expected was {expected[:10]}. Nothing"
        " was written. If that is intended, accept it on the repository's page; if not, look at the location."
    )
