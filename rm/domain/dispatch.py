"""Which waiting job may be sent next: one at a time per host, exclusive jobs alone on their repository.

Restic's own locks say what may not meet: `check`, `prune` and `forget` lock a repository exclusively; `backup`,
`restore` and `diff` share it; `unlock`, and `snapshots` as it is run here, need no lock. Backups go first; an
exclusive job that waited for PATIENCE has the next turn, so that none waits for ever. An update goes past this queue,
because the agent itself waits for the job that runs; once it is sent it holds up all others of its host.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.jobs import UPDATE

EXCLUSIVE = frozenset({"check", "prune", "forget"})
SHARED = frozenset({"backup", "restore", "diff"})
PATIENCE = timedelta(hours=1)
# A restic that lives renews its lock every five minutes, and after 30 its lock counts as stale.
EXCLUSIVE_SILENCE = timedelta(minutes=35)
# Who is sent this long before waits on its host for the lock to go, which it sees there within seconds.
SENT_AHEAD = timedelta(minutes=2)

HOST_BUSY = "host_busy"
REPOSITORY_BUSY = "repository_busy"
BACKUPS_FIRST = "backups_first"
ITS_TURN = "its_turn"


@dataclass(frozen=True)
class OpenJob:
    """What the rules need to know of a job that has not ended."""

    id: str
    host_id: str
    repository_id: str
    kind: str
    created_at: datetime
    is_sent: bool
    last_sign_at: datetime | None = None
    is_host_connected: bool = True
    frees_at: datetime | None = None


@dataclass(frozen=True)
class Hold:
    """Why a job waits, and for which other one."""

    code: str
    blocker_id: str


def frees_at(sent_at: datetime, box: timedelta) -> datetime | None:
    """From when on others need not wait here for an exclusive job with this time box; None without one."""
    return sent_at + box - min(SENT_AHEAD, box / 4) if box > timedelta(0) else None


def conflicts(one: str, other: str) -> bool:
    """Whether jobs of these kinds must not meet in one repository."""
    if one == other == "init":
        return True
    locking = EXCLUSIVE | SHARED
    return one in locking and other in locking and (one in EXCLUSIVE or other in EXCLUSIVE)


def hold(job: OpenJob, open_jobs: Sequence[OpenJob], now: datetime) -> Hold | None:
    """Why this waiting job may not be sent now, None when it may; `open_jobs` are all of its host and repository."""
    others = [other for other in open_jobs if other.id != job.id]
    busy = next((other for other in others if other.is_sent and other.host_id == job.host_id), None)
    if busy is not None:
        return Hold(HOST_BUSY, busy.id)
    here = [other for other in others if job.repository_id and other.repository_id == job.repository_id]
    for other in here:
        if other.is_sent and conflicts(job.kind, other.kind) and not _is_given_up(job, other, now):
            return Hold(REPOSITORY_BUSY, other.id)
    if job.kind not in EXCLUSIVE | SHARED:
        return None
    waiting = [other for other in here if not other.is_sent and _can_start(other, open_jobs)]
    turn = min((other for other in waiting if _has_turn(other, now)), key=_age, default=None)
    if turn is not None and (job.kind in SHARED or not _has_turn(job, now) or _age(turn) < _age(job)):
        return Hold(ITS_TURN, turn.id)
    if job.kind in EXCLUSIVE and not _has_turn(job, now):
        backup = min((other for other in waiting if other.kind == "backup"), key=_age, default=None)
        if backup is not None:
            return Hold(BACKUPS_FIRST, backup.id)
    return None


def next_job(host_id: str, open_jobs: Sequence[OpenJob], now: datetime) -> tuple[str | None, dict[str, Hold]]:
    """The job to send to this host now, if any, and why its others wait.

    `open_jobs` are all of the host and of every repository that its jobs use.
    """
    waiting = [job for job in open_jobs if job.host_id == host_id and not job.is_sent and job.kind != UPDATE]
    waiting.sort(key=lambda job: (_rank(job, now), _age(job)))
    holds: dict[str, Hold] = {}
    chosen: str | None = None
    for job in waiting:
        why = Hold(HOST_BUSY, chosen) if chosen is not None else hold(job, open_jobs, now)
        if why is None:
            chosen = job.id
        else:
            holds[job.id] = why
    if chosen is not None:
        holds = {job_id: Hold(HOST_BUSY, chosen) for job_id in holds}
    return chosen, holds


def _rank(job: OpenJob, now: datetime) -> int:
    if job.kind == "unlock":
        return 0
    if job.kind in EXCLUSIVE:
        return 1 if _has_turn(job, now) else 3
    return 2


def _has_turn(job: OpenJob, now: datetime) -> bool:
    return job.kind in EXCLUSIVE and now - job.created_at >= PATIENCE


def _can_start(job: OpenJob, open_jobs: Sequence[OpenJob]) -> bool:
    """Whether its host would take it; one that is away or busy elsewhere must not hold up others."""
    return job.is_host_connected and not any(other.is_sent and other.host_id == job.host_id for other in open_jobs)


def _is_given_up(job: OpenJob, blocker: OpenJob, now: datetime) -> bool:
    """Whether a backup need no longer wait here for an exclusive job; restic's lock still guards.

    Its time box is about to be over, or nobody hears of it.
    """
    if job.kind not in SHARED or blocker.kind not in EXCLUSIVE:
        return False
    if blocker.frees_at is not None and now >= blocker.frees_at:
        return True
    return blocker.last_sign_at is not None and now - blocker.last_sign_at > EXCLUSIVE_SILENCE


def _age(job: OpenJob) -> tuple[datetime, str]:
    return job.created_at, job.id
