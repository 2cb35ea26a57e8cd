"""Jobs: ordered by people, carried out by agents, ended exactly once."""

from datetime import datetime
from typing import Any

from rm.domain import jobs as rules
from rm.domain.actors import Actor
from rm.errors import Conflict, Invalid
from rm.events import CancelRequested, EventBus, HostChanged, JobChanged, JobQueued
from rm.services import audit, disk_space, updates
from rm.services.job_dispatch import blocker_of, list_to_ask_again, next_orders, wake_repositories
from rm.services.job_ends import end
from rm.services.job_reports import facts_of, finished, owner_of, started
from rm.shared.ids import new_ulid
from rm.shared.words import counted
from rm.store import hosts, jobs, repositories, source_groups
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job, SourceGroup

__all__ = [
    "blocker_of", "cancel", "finished", "give_up_waiting", "list_to_ask_again", "next_orders", "order", "owner_of",
    "queue", "started", "wake_repositories",
]  # fmt: skip

MAX_OPEN_PER_HOST = 20


def order(
    bus: EventBus, *, host_id: str, kind: str, source_group_id: str | None = None, subset: str = "", actor: Actor,
    now: datetime,
) -> Job:  # fmt: skip
    """A queued job; pressing twice gives the job that is open already. Raises Invalid, Conflict or NotFound.

    `subset` is for `check`: n/t reads part n of t of the data, empty reads none of it.
    """
    if kind not in rules.ORDERABLE:
        raise Invalid({"kind": f"Choose one of {', '.join(rules.ORDERABLE)}."})
    problem = rules.subset_problem(subset) if kind == "check" else "Only a check reads a part." if subset else None
    if problem:
        raise Invalid({"subset": problem})
    with changes():
        host = hosts.get(host_id)
        if host.revoked_at is not None:
            raise Conflict(f"{host.name} was revoked; it cannot run jobs.", code="host_revoked")
        if host.repository_id is None:
            raise Conflict(
                f"{host.name} has no repository yet.", code="no_repository", help="Set one on the host's page first."
            )
        _refuse_for_repository(host.repository_id, kind)
        group_name, parameters = "", {}
        if subset:
            parameters = {"subset": subset}
        if kind == "backup":
            group = source_groups.get(_required(source_group_id), host_id=host_id)
            _refuse_without_hooks(host, group)
            group_name = group.name
            parameters = {"includes": group.includes, "excludes": group.excludes}
        open_jobs = jobs.open_for_host(host_id)
        for job in open_jobs:
            is_same = (job.kind, job.source_group) == (kind, group_name)
            if is_same and job.parameters.get("subset", "") == subset and job.cancel_requested_at is None:
                return job
        return queue(bus, host=host, kind=kind, source_group=group_name, parameters=parameters, actor=actor, now=now)


def queue(
    bus: EventBus, *, host: Host, kind: str, source_group: str = "", parameters: dict[str, Any] | None = None,
    time_box_seconds: int = 0, actor: Actor, now: datetime,
) -> Job:  # fmt: skip
    """A new job in the host's queue; what it carries was checked by the caller, in whose transaction this belongs.

    The agent ends it after `time_box_seconds`, if any. Raises Conflict when too many wait, and Unavailable when the
    server's disk is almost full.
    """
    disk_space.refuse_new_orders()
    with changes():
        # What the host's own schedules fired never waits here.
        open_count = sum(job.due_at is None for job in jobs.open_for_host(host.id))
        if open_count >= MAX_OPEN_PER_HOST:
            raise Conflict(f"{host.name} has {counted(open_count, 'job')} waiting already.", code="too_many_jobs")
        carried = (parameters or {}) | ({"time_box_seconds": time_box_seconds} if time_box_seconds else {})
        job = Job.create(
            id=new_ulid(),
            host=host.id,
            kind=kind,
            state="queued",
            repository=host.repository_id,
            source_group=source_group,
            parameters=carried,
            requested_by=actor.name,
            created_at=now,
            expires_at=rules.expires_at(now),
        )
        audit.record(
            actor, "job.ordered", now=now, kind="job", id=job.id, name=kind, host=host.name, source_group=source_group
        )
        publish_after_commit(bus, JobChanged(job.id, host.id), JobQueued(job.id, host.id), HostChanged(host.id))
        return job


def order_again(bus: EventBus, *, job_id: str, actor: Actor, now: datetime) -> Job:
    """The same once more, with the source group as it is now. Raises NotFound, and Conflict if the group is gone."""
    job = jobs.get(job_id)
    group_id = None
    if job.kind == "backup":
        group = next((one for one in source_groups.list_for_host(job.host_id) if one.name == job.source_group), None)
        if group is None:
            raise Conflict(
                f"{hosts.get(job.host_id).name} has no source group “{job.source_group}” any more.",
                code="source_group_gone", help="Run another group from the host's page.",
            )  # fmt: skip
        group_id = group.id
    return order(
        bus, host_id=job.host_id, kind=job.kind, source_group_id=group_id, subset=job.parameters.get("subset", ""),
        actor=actor, now=now,
    )  # fmt: skip


def cancel(bus: EventBus, *, job_id: str, actor: Actor, now: datetime) -> Job:
    """End a job that waits, or ask the host to end it; raises Conflict when it has ended already."""
    with changes():
        job = jobs.get(job_id)
        if job.kind == rules.UPDATE:
            updates.cancel(bus, job_id=job_id, actor=actor, now=now)
            return jobs.get(job_id)
        what = rules.on_cancel(facts_of(job))
        if what == "over":
            raise Conflict(f"This job has ended already: {job.outcome}.", code="job_over")
        if what == "now":
            end(
                bus,
                job,
                outcome="cancelled",
                now=now,
                reason="cancelled",
                message=f"Cancelled by {actor.name} before it was sent to the host.",
            )
        elif what == "ask":
            Job.update(cancel_requested_at=now, cancel_requested_by=actor.name).where(Job.id == job_id).execute()
            publish_after_commit(bus, CancelRequested(job_id, job.host_id), JobChanged(job_id, job.host_id))
        if what != "asked":
            audit.record(actor, "job.cancel_requested", now=now, kind="job", id=job_id, name=job.kind)
        return jobs.get(job_id)


def give_up_waiting(bus: EventBus, *, now: datetime) -> int:
    """End what waited too long: jobs that never left the queue, and jobs of which there was no sign for a day.

    The latter end as `lost`, a guess that a later report corrects. Returns how many ended.
    """
    count = 0
    with changes():
        for job in jobs.list_queued_until(now):
            end(
                bus,
                job,
                outcome="cancelled",
                now=now,
                reason="expired",
                message=_expiry_words(job),
            )
            count += 1
        for job in jobs.list_silent_since(now - rules.SILENCE_UNTIL_LOST):
            end(
                bus,
                job,
                outcome="lost",
                now=now,
                reason="silent",
                message="There was no sign of this job for 24 hours. If the host reports its end later, that counts.",
            )
            count += 1
        # A turn comes by time alone, without an event that would tell.
        for job in jobs.list_waiting():
            publish_after_commit(bus, JobQueued(job.id, job.host_id))
    return count


def _refuse_for_repository(repository_id: str, kind: str) -> None:
    repository = repositories.get(repository_id)
    if repository.restic_id_seen and kind not in ("unlock", "snapshots"):
        raise Conflict(
            f"Another repository is at the place of {repository.name}.", code="repository_changed",
            help="Look at its page: accept the one that is there now, or correct the location.",
        )  # fmt: skip
    if kind == "prune" and repository.is_append_only and not repositories.has_maintenance(repository_id):
        raise Conflict(
            f"{repository.name} is append-only: its everyday credential cannot delete.", code="append_only",
            help="Give it a maintenance credential on the repository's page first.",
        )  # fmt: skip


def _refuse_without_hooks(host: Host, group: SourceGroup) -> None:
    """An agent that knows no hooks would back up without them and call that a success."""
    if source_groups.has_hooks(group) and host.first_hello_at is not None and "hooks" not in host.features:
        raise Conflict(
            f"{group.name} has hooks, and the agent of {host.name} is too old to run them.", code="agent_too_old",
            help="Update the agent first, or remove the hooks.",
        )  # fmt: skip


def _expiry_words(job: Job) -> str:
    if job.waits_for:
        return f"Within 24 hours its turn did not come: it {job.waits_for}. It was given up; nothing ran."
    return "The host did not connect within 24 hours, so this job was given up. Nothing ran."


def _required(source_group_id: str | None) -> str:
    if not source_group_id:
        raise Invalid({"source_group_id": "Choose what to back up."})
    return source_group_id
