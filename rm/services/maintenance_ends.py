"""What the end of a forget, prune or check means for its repository, its policy and the alerts."""

from datetime import datetime, timedelta
from typing import Any

from rm.domain import maintenance as rules
from rm.domain.actors import SERVER
from rm.domain.alert_rules import cause_of_failure
from rm.events import EventBus, RepositoryChanged
from rm.services import alerts
from rm.store import maintenance, repositories
from rm.store.database import publish_after_commit
from rm.store.models import Job, MaintenancePolicy, Repository, SourceGroup

DAMAGED = "repository_damaged"
TIME_BOX = "time_box"
GOOD = ("succeeded", "warnings")
MESSAGE_LIMIT = 500


def keep(bus: EventBus, job: Job, *, now: datetime) -> None:
    """Take the end of such a job; call it in the transaction that ends it, with the row as it is then."""
    repository = repositories.find(job.repository_id)
    if job.kind not in rules.KINDS or repository is None or job.finished_at is None:
        return
    word = word_of(job)
    was_sent = job.dispatched_at is not None or job.started_at is not None
    if not was_sent and (word == rules.GAVE_WAY or job.reason == "expired"):
        return
    policy = maintenance.find(repository.id, job.kind)
    is_all_clear = word in GOOD and _proves(job, repository, policy)
    if is_all_clear:
        _keep_success(job, repository)
    elif job.kind == "check" and job.reason == DAMAGED:
        Repository.update(checked_at=job.finished_at, check_ok=False).where(Repository.id == repository.id).execute()
    if policy is not None:
        _keep_last(job, policy, word)
    _tell(bus, job, repository, word=word, is_all_clear=is_all_clear, now=now)
    publish_after_commit(bus, RepositoryChanged(repository.id))


def word_of(job: Job) -> str:
    """How it ended: its outcome, or time_box or gave_way for one that was ended for that."""
    if job.outcome != "cancelled":
        return str(job.outcome)
    box = timedelta(seconds=int(job.parameters.get("time_box_seconds", 0)))
    # It ends some seconds after it was asked to; those do not make a job that gave way one that used up its box.
    until = job.cancel_requested_at or job.finished_at
    took = until - job.started_at if job.started_at is not None else timedelta(0)
    if job.reason == TIME_BOX or (box and took >= box):
        return TIME_BOX
    return rules.GAVE_WAY if job.cancel_requested_by == SERVER.name else "cancelled"


def condition_of(repository_id: str, group_id: str = "") -> str:
    """What an alert is about: a group, for its forget, or the repository."""
    return f"group:{group_id}" if group_id else f"repository:{repository_id}"


def last_of(policy: MaintenancePolicy, failures: int) -> rules.Last | None:
    """How it went last, as the rules see it; `failures` are those in a row."""
    if policy.last_ended_at is None:
        return None
    endings = {
        "succeeded": rules.DONE, "warnings": rules.DONE, "cancelled": rules.CANCELLED, rules.GAVE_WAY: rules.GAVE_WAY,
    }  # fmt: skip
    return rules.Last(
        started_at=policy.last_started_at or policy.last_ended_at,
        ended_at=policy.last_ended_at,
        ending=endings.get(policy.last_outcome, rules.FAILED),
        failures=failures,
    )


def _proves(job: Job, repository: Repository, policy: MaintenancePolicy | None) -> bool:
    """Whether a job that went well says so of the repository: damage found in one part is not undone by another."""
    if job.kind != "check" or repository.check_ok is not False:
        return True
    subset = job.parameters.get("subset", "")
    if subset == "1/1" or policy is None or policy.parts == 0:
        return True
    return bool(subset == f"{policy.next_part}/{policy.parts}")


def _keep_success(job: Job, repository: Repository) -> None:
    if job.kind == "check":
        Repository.update(checked_at=job.finished_at, check_ok=True).where(Repository.id == repository.id).execute()
    elif job.kind == "prune":
        Repository.update(pruned_at=job.finished_at).where(Repository.id == repository.id).execute()
    elif group_id := job.parameters.get("group_id"):
        SourceGroup.update(forgotten_at=job.finished_at).where(SourceGroup.id == group_id).execute()


def _keep_last(job: Job, policy: MaintenancePolicy, word: str) -> None:
    if policy.last_ended_at is not None and job.finished_at < policy.last_ended_at and job.id != policy.last_job_id:
        return
    gave_way = word == rules.GAVE_WAY
    values: dict[str, Any] = {
        "last_job_id": job.id,
        "last_started_at": job.started_at or job.dispatched_at or job.finished_at,
        "last_ended_at": job.finished_at,
        "last_outcome": word,
        "last_message": policy.last_message if gave_way else job.message[:MESSAGE_LIMIT],
        "yields": policy.yields + 1 if gave_way else 0,
    }
    if job.kind == "check" and word in GOOD and policy.parts:
        values |= _next_part(job, policy)
    MaintenancePolicy.update(values).where(
        MaintenancePolicy.repository == policy.repository_id, MaintenancePolicy.kind == policy.kind
    ).execute()


def _next_part(job: Job, policy: MaintenancePolicy) -> dict[str, Any]:
    if job.parameters.get("subset") != f"{policy.next_part}/{policy.parts}":
        return {}
    following, _ = rules.part_after(policy.next_part, policy.parts)
    begins = {"round_started_at": job.started_at} if policy.next_part == 1 else {}
    return {"next_part": following} | begins


def _tell(bus: EventBus, job: Job, repository: Repository, *, word: str, is_all_clear: bool, now: datetime) -> None:
    group_id = str(job.parameters.get("group_id") or "")
    kind, condition = f"{job.kind}_failed", condition_of(repository.id, group_id)
    if is_all_clear:
        note = f"The {job.kind} on {job.host.name} succeeded."
        alerts.clear(bus, kind=kind, condition=condition, note=note, now=now)
    elif word in ("failed", "lost", TIME_BOX):
        about = f" of {job.source_group}" if group_id else ""
        said = _TIME_BOX_WORDS if word == TIME_BOX else job.message or "The log of the job says more."
        alerts.raise_alert(
            bus, kind=kind, condition=condition, now=now, repository_id=repository.id,
            cause=cause_of_failure(job.reason, repository.id), host_id=_owner_of(group_id),
            message=f"{repository.name}: {job.kind}{about} on {job.host.name}: {said}",
        )  # fmt: skip


def _owner_of(group_id: str) -> str | None:
    group = SourceGroup.get_or_none(SourceGroup.id == group_id) if group_id else None
    return group.host_id if group is not None else None


_TIME_BOX_WORDS = "it did not end within its time box. Give it more time, or a window in which less goes on."
