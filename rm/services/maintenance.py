"""Keeping repositories in order: ordering what each needs next, and ending what keeps backups waiting."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from rm.domain import maintenance as rules
from rm.domain import retention
from rm.domain.actors import SERVER, Actor
from rm.domain.maintenance import AtRepository, Candidate
from rm.errors import Conflict, HostOffline, Unavailable
from rm.events import EventBus, RepositoryChanged
from rm.offload import give_way
from rm.services import jobs, maintenance_policies
from rm.services.maintenance_outlook import Looked, at_repository
from rm.shared.words import counted
from rm.store import hosts, maintenance, repositories
from rm.store.database import changes, connection, publish_after_commit
from rm.store.models import Job, MaintenancePolicy, SourceGroup

ABANDONED_AFTER = timedelta(minutes=10)
RUN_NOW_MOST = 10
LOOKED_AT_ONCE = 50
SLICE = 50


def sweep(
    bus: EventBus, *, now: datetime, after: str = "", most: int = LOOKED_AT_ONCE,
    pause: Callable[[], None] = give_way,
) -> str:  # fmt: skip
    """Order what is due and end what must give way, at so many repositories, those after this one first.

    Returns the one to go on after. However many there are and however many are due at once, `pause` gives other work
    its turn after a few milliseconds.
    """
    with connection():
        maintenance_policies.ensure_all(now=now)
        # Nobody is kept waiting because many others are due.
        urgent = maintenance.list_with_conflicts()
    in_turn = _in_turn(now, after, most, pause)
    for repository_id in dict.fromkeys([*urgent, *in_turn[:most]]):
        pause()
        with connection(), changes():
            repository = repositories.find(repository_id)
            if repository is not None:
                looked = Looked.at(repository, now)
                _end_what_must(bus, looked)
                _order_next(bus, looked)
    return in_turn[most - 1] if len(in_turn) > most else ""


def _in_turn(now: datetime, after: str, most: int, pause: Callable[[], None]) -> list[str]:
    """The repositories that want a look, from the one after this on and once around, until there are more than so many.

    Asking for all of 1,000 repositories with 10,000 hosts at once takes 60 ms, in which no heartbeat is read.
    """
    found: list[str] = []
    with connection():
        ids = repositories.list_ids()
    around = [*(one for one in ids if one > after), *(one for one in ids if one <= after)]
    for begin in range(0, len(around), SLICE):
        with connection():
            found += maintenance.list_to_look_at(now, around[begin : begin + SLICE])
        if len(found) > most:
            break
        pause()
    return found


def run_now(bus: EventBus, *, repository_id: str, kind: str, actor: Actor, now: datetime) -> list[Job]:
    """Order one kind at once, whatever its cadence and window; pressing twice gives the jobs that are open already.

    Raises Conflict when it cannot be done at all, HostOffline when no host could do it now.
    """
    with changes():
        repository = repositories.get(repository_id)
        maintenance_policies.ensure(repository_id=repository_id, now=now)
        policy = maintenance.get(repository_id, kind)
        looked = Looked.at(repository, now)
        blocked = looked.blocked(kind)
        if blocked:
            raise Conflict(f"{repository.name}: {blocked}.", code="blocked")
        open_already = [job for job in looked.open_jobs if job.kind == kind]
        if open_already:
            return open_already
        groups: Sequence[SourceGroup | None] = looked.groups[:RUN_NOW_MOST] if kind == "forget" else [None]
        made = []
        for group in groups:
            chosen = rules.choose_host(kind, looked.candidates, owner_id=group.host_id if group else "")
            if chosen is None:
                raise HostOffline(_nobody(kind, looked.candidates), help="Try again once one of its hosts is back.")
            made.append(_order(bus, policy, group, chosen.host_id, timedelta(minutes=policy.box_minutes), actor, now))
        publish_after_commit(bus, RepositoryChanged(repository_id))
        return made


def _order_next(bus: EventBus, looked: Looked) -> None:
    """Order the one that has been due for longest; the others follow it, one at a time."""
    ready = [found for found in looked.outlook() if found.decision.code == rules.RUN]
    if not ready:
        return
    found = min(ready, key=lambda one: rules.earliest(one.plan, looked.now)[0])
    try:
        _order(
            bus, found.policy, found.group, found.decision.host_id, found.decision.box, SERVER, looked.now
        )  # fmt: skip
    except (Conflict, Unavailable):
        # Too many jobs wait on every host that could do it, or the server's disk is full: there is a next time.
        return
    publish_after_commit(bus, RepositoryChanged(looked.repository.id))


def _order(
    bus: EventBus, policy: MaintenancePolicy, group: SourceGroup | None, host_id: str, box: timedelta, actor: Actor,
    now: datetime,
) -> Job:  # fmt: skip
    parameters: dict[str, object] = {}
    if group is not None:
        parameters = {
            "retention": retention.normal(group.retention), "snapshots_of": group.host.hostname, "group_id": group.id,
        }  # fmt: skip
    elif policy.kind == "check" and policy.parts:
        parameters = {"subset": f"{policy.next_part}/{policy.parts}"}
    job = jobs.queue(
        bus, host=hosts.get(host_id), kind=policy.kind, source_group=group.name if group is not None else "",
        parameters=parameters, time_box_seconds=max(60, int(box.total_seconds())), actor=actor, now=now,
    )  # fmt: skip
    MaintenancePolicy.update(last_job_id=job.id).where(
        MaintenancePolicy.repository == policy.repository_id, MaintenancePolicy.kind == policy.kind
    ).execute()
    return job


def _end_what_must(bus: EventBus, looked: Looked) -> None:
    """End the repository's own jobs that outrun their time box, wait for a host that went, or keep backups waiting."""
    for job in list(looked.open_jobs):
        if _is_abandoned(job, looked):
            Job.update(cancel_requested_by=SERVER.name).where(Job.id == job.id).execute()
            jobs.cancel(bus, job_id=job.id, actor=SERVER, now=looked.now)
            looked.open_jobs.remove(job)
    for kind, policy in looked.policies.items():
        job = next((one for one in looked.open_jobs if one.kind == kind and one.id == policy.last_job_id), None)
        if job is None or job.dispatched_at is None or job.cancel_requested_at is not None:
            continue
        box = timedelta(seconds=int(job.parameters.get("time_box_seconds", 0)))
        if rules.is_overrun(job.started_at, box, looked.now):
            jobs.cancel(bus, job_id=job.id, actor=SERVER, now=looked.now)
            continue
        waiting = rules.gives_way(_waiting_for(job, looked), yields=policy.yields, now=looked.now)
        if waiting is not None:
            MaintenancePolicy.update(last_message=f"Gave way to {waiting}.").where(
                MaintenancePolicy.repository == policy.repository_id, MaintenancePolicy.kind == kind
            ).execute()
            jobs.cancel(bus, job_id=job.id, actor=SERVER, now=looked.now)


def _waiting_for(job: Job, looked: Looked) -> list[AtRepository]:
    """The backups and restores that wait for this job: on a host for the lock or its end, or here for their turn."""
    found = []
    for other in looked.open_jobs:
        if other.kind not in ("backup", "restore"):
            continue
        if other.dispatched_at is not None:
            if (other.progress or {}).get("phase") == "waiting":
                found.append(at_repository(other))
            continue
        held = jobs.blocker_of(other, now=looked.now)
        if held is not None and held[1].id == job.id and other.host.connected_at is not None:
            found.append(at_repository(other))
    # What a schedule of this job's own host fired waits in its agent, which has nothing to report of it yet.
    behind = maintenance.list_fired_behind(job)
    return found + [AtRepository(group_id, "backup", job.host.name, since) for group_id, since in behind]


def _is_abandoned(job: Job, looked: Looked) -> bool:
    """Whether what the server ordered is to be taken back before it was sent: its host went, or its window closed."""
    policy = looked.policies.get(job.kind)
    if policy is None or job.dispatched_at is not None or job.requested_by != SERVER.name:
        return False
    if job.host.connected_at is None and looked.now - job.created_at >= ABANDONED_AFTER:
        return True
    return not rules.is_in_window(
        maintenance_policies.plan_of(policy, last=None, since=policy.changed_at), looked.now
    )  # fmt: skip


def _nobody(kind: str, candidates: Sequence[Candidate]) -> str:
    if any(one.is_connected for one in candidates):
        return f"No connected host's agent can {kind} yet: update the agents."
    return (
        f"None of the {counted(len(candidates), 'host')} that use it is connected."
        if candidates
        else "No host uses it."
    )
