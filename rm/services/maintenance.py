"""Keeping repositories in order: what each needs next, ordering it, and ending what keeps backups waiting."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rm.domain import health, retention
from rm.domain import maintenance as rules
from rm.domain.actors import SERVER, Actor
from rm.domain.maintenance import AtRepository, Candidate, Decision
from rm.errors import Conflict, HostOffline
from rm.events import EventBus, RepositoryChanged
from rm.services import jobs, maintenance_policies
from rm.services.maintenance_ends import condition_of, last_of
from rm.shared.words import counted
from rm.store import hosts, maintenance, repositories
from rm.store import jobs as job_store
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Job, MaintenancePolicy, Repository, SourceGroup

ABANDONED_AFTER = timedelta(minutes=10)
RUN_NOW_MOST = 10
LOOKED_AT_ONCE = 50


@dataclass(frozen=True)
class Next:
    """What comes next of one kind at a repository; `group` is the one whose turn it is, of `groups` in all.

    `note` says what is left out of it, in a sentence.
    """

    policy: MaintenancePolicy
    decision: Decision
    plan: rules.Plan
    group: SourceGroup | None = None
    groups: int = 0
    note: str = ""


def outlook(repository_id: str, *, now: datetime) -> list[Next]:
    """What comes next of each kind, and why not yet; raises NotFound."""
    repository = repositories.get(repository_id)
    if not maintenance.list_policies(repository_id):
        with changes():
            maintenance_policies.ensure(repository_id=repository_id, now=now)
    return _Looked.at(repository, now).outlook()


def sweep(bus: EventBus, *, now: datetime, after: str = "", most: int = LOOKED_AT_ONCE) -> str:
    """Order what is due and end what must give way, at so many repositories, those after this one first.

    Returns the one to go on after, so that however many are due at once, other work has its turn in between.
    """
    maintenance_policies.ensure_all(now=now)
    waiting = maintenance.list_to_look_at(now)
    in_turn = [*(one for one in waiting if one > after), *(one for one in waiting if one <= after)]
    # Nobody is kept waiting because many others are due.
    urgent = maintenance.list_with_conflicts()
    for repository_id in dict.fromkeys([*urgent, *in_turn[:most]]):
        with changes():
            repository = repositories.find(repository_id)
            if repository is not None:
                looked = _Looked.at(repository, now)
                _end_what_must(bus, looked)
                _order_next(bus, looked)
    return in_turn[most - 1] if len(in_turn) > most else ""


def run_now(bus: EventBus, *, repository_id: str, kind: str, actor: Actor, now: datetime) -> list[Job]:
    """Order one kind at once, whatever its cadence and window; pressing twice gives the jobs that are open already.

    Raises Conflict when it cannot be done at all, HostOffline when no host could do it now.
    """
    with changes():
        repository = repositories.get(repository_id)
        maintenance_policies.ensure(repository_id=repository_id, now=now)
        policy = maintenance.get(repository_id, kind)
        looked = _Looked.at(repository, now)
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


@dataclass(frozen=True)
class _Looked:
    """A repository as it is at one moment: its policies, groups, hosts and open jobs; `contested` are no `groups`."""

    repository: Repository
    now: datetime
    policies: dict[str, MaintenancePolicy]
    groups: list[SourceGroup]
    open_jobs: list[Job]
    candidates: list[Candidate]
    contested: list[tuple[SourceGroup, list[str]]]

    @classmethod
    def at(cls, repository: Repository, now: datetime) -> "_Looked":
        counts = maintenance.open_counts(repository.id)
        usable = [group for group in maintenance.list_groups_with_retention(repository.id) if _is_usable(group)]
        contested = maintenance.list_contested(repository.id) if usable else {}
        return cls(
            repository=repository,
            now=now,
            policies={policy.kind: policy for policy in maintenance.list_policies(repository.id)},
            groups=[group for group in usable if group.id not in contested],
            open_jobs=job_store.open_for_repository(repository.id),
            candidates=[
                _candidate(host, counts.get(host.id, 0), now) for host in maintenance.list_users(repository.id)
            ],
            contested=[(group, contested[group.id]) for group in usable if group.id in contested],
        )

    def outlook(self) -> list[Next]:
        return [self.next_of(kind) for kind in rules.KINDS if kind in self.policies]

    def next_of(self, kind: str) -> Next:
        policy = self.policies[kind]
        if kind == "forget" and self.groups:
            return self._next_forget(policy)
        condition = condition_of(self.repository.id)
        alert = maintenance.open_alerts(f"{kind}_failed", [condition]).get(condition)
        last = last_of(policy, alert.count if alert is not None else 1)
        plan = maintenance_policies.plan_of(policy, last=last, since=policy.changed_at)
        return self._decided(policy, plan)

    def blocked(self, kind: str) -> str:
        """Why this cannot be done at all as things are; empty if it can."""
        repository = self.repository
        if repository.restic_id_seen:
            return "another repository is at its place; accept that one or correct the location first"
        if repository.restic_repository_id is None:
            return "nobody has opened this repository yet"
        if kind in rules.DELETING and repository.check_ok is False:
            return "the last check found damage; nothing is deleted until a check finds none"
        if kind in rules.DELETING and repository.is_append_only and not repositories.has_maintenance(repository.id):
            return "it is append-only and needs a maintenance credential that may delete"
        if kind == "forget" and not self.groups and self.contested:
            return _contested_words(self.contested)
        if kind == "forget" and not self.groups:
            return "no source group that backs up here has a retention: everything is kept"
        return ""

    def _next_forget(self, policy: MaintenancePolicy) -> Next:
        conditions = {condition_of(self.repository.id, group.id): group for group in self.groups}
        alerts = maintenance.open_alerts("forget_failed", list(conditions))
        pause = _pause_after(policy)
        plans = []
        for condition, group in conditions.items():
            alert = alerts.get(condition)
            last = None
            if alert is not None:
                last = rules.Last(alert.last_seen_at, alert.last_seen_at, rules.FAILED, alert.count)
            elif group.forgotten_at is not None:
                last = rules.Last(group.forgotten_at, group.forgotten_at)
            since = max(policy.changed_at, group.changed_at)
            plan = replace(maintenance_policies.plan_of(policy, last=last, since=since), not_before=pause)
            plans.append((rules.earliest(plan, self.now)[0], group.id, group, plan))
        _, _, group, plan = min(plans, key=lambda entry: entry[:2])
        return self._decided(policy, plan, group)

    def _decided(self, policy: MaintenancePolicy, plan: rules.Plan, group: SourceGroup | None = None) -> Next:
        decision = rules.decide(
            plan,
            now=self.now,
            candidates=self.candidates,
            at_repository=[_at_repository(job) for job in self.open_jobs if _counts(job)],
            owner_id=group.host_id if group is not None else "",
            blocked=self.blocked(policy.kind),
        )
        is_forget = policy.kind == "forget"
        note = _contested_words(self.contested) if is_forget and self.groups and self.contested else ""
        return Next(policy, decision, plan, group, len(self.groups) if is_forget else 0, note)


def _order_next(bus: EventBus, looked: _Looked) -> None:
    """Order the one that has been due for longest; the others follow it, one at a time."""
    ready = [found for found in looked.outlook() if found.decision.code == rules.RUN]
    if not ready:
        return
    found = min(ready, key=lambda one: rules.earliest(one.plan, looked.now)[0])
    try:
        _order(
            bus, found.policy, found.group, found.decision.host_id, found.decision.box, SERVER, looked.now
        )  # fmt: skip
    except Conflict:
        # Too many jobs wait on every host that could do it: there is a next time.
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


def _end_what_must(bus: EventBus, looked: _Looked) -> None:
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


def _waiting_for(job: Job, looked: _Looked) -> list[AtRepository]:
    """The backups and restores that wait for this job: on a host for the lock or its end, or here for their turn."""
    found = []
    for other in looked.open_jobs:
        if other.kind not in ("backup", "restore"):
            continue
        if other.dispatched_at is not None:
            if (other.progress or {}).get("phase") == "waiting":
                found.append(_at_repository(other))
            continue
        held = jobs.blocker_of(other, now=looked.now)
        if held is not None and held[1].id == job.id and other.host.connected_at is not None:
            found.append(_at_repository(other))
    # What a schedule of this job's own host fired waits in its agent, which has nothing to report of it yet.
    behind = maintenance.list_fired_behind(job)
    return found + [AtRepository(group_id, "backup", job.host.name, since) for group_id, since in behind]


def _is_abandoned(job: Job, looked: _Looked) -> bool:
    """Whether what the server ordered is to be taken back before it was sent: its host went, or its window closed."""
    policy = looked.policies.get(job.kind)
    if policy is None or job.dispatched_at is not None or job.requested_by != SERVER.name:
        return False
    if job.host.connected_at is None and looked.now - job.created_at >= ABANDONED_AFTER:
        return True
    return not rules.is_in_window(
        maintenance_policies.plan_of(policy, last=None, since=policy.changed_at), looked.now
    )  # fmt: skip


def _pause_after(policy: MaintenancePolicy) -> datetime | None:
    """When the next group may follow a forget that gave way or that a person ended."""
    last = last_of(policy, 1)
    if last is None or last.ending not in (rules.GAVE_WAY, rules.CANCELLED):
        return None
    return rules.due_at(maintenance_policies.plan_of(policy, last=last, since=policy.changed_at))[0]


def _contested_words(contested: Sequence[tuple[SourceGroup, list[str]]]) -> str:
    """Why nothing is forgotten of groups that share their hostname and name with a group of another host."""
    group, others = contested[0]
    more = f" (and {counted(len(contested) - 1, 'more group')})" if len(contested) > 1 else ""
    return (
        f"nothing of {group.name} on {group.host.name}{more} is forgotten: {others[0]} has the hostname"
        f" {group.host.hostname} too and uses the same name, so restic cannot tell their snapshots apart. Revoke the"
        " host that is gone, or give one of the groups another name"
    )


def _is_usable(group: SourceGroup) -> bool:
    """Whether its retention may go out: it means something, and not the empty policy that would keep or drop all."""
    return retention.problem(group.retention) is None and bool(retention.normal(group.retention))


def _candidate(host: Host, open_jobs: int, now: datetime) -> Candidate:
    is_online = health.is_online(
        is_connected=host.connected_at is not None, last_seen_at=host.last_seen_at, now=now
    )  # fmt: skip
    return Candidate(
        host_id=host.id,
        name=host.name,
        is_connected=is_online and host.restic_version is not None,
        is_always_on=host.mode == "always_on",
        open_jobs=open_jobs,
        features=frozenset(host.features),
        last_seen_at=host.last_seen_at,
    )


def _counts(job: Job) -> bool:
    """Whether an open job holds others up: not what a person ordered from a host that is away."""
    return job.dispatched_at is not None or job.host.connected_at is not None or job.requested_by == SERVER.name


def _at_repository(job: Job) -> AtRepository:
    return AtRepository(
        id=job.id,
        kind=job.kind,
        host_name=job.host.name,
        since=job.started_at or job.dispatched_at or job.created_at,
        is_sent=job.dispatched_at is not None,
        is_waiting=job.dispatched_at is None or (job.progress or {}).get("phase") == "waiting",
    )


def _nobody(kind: str, candidates: Sequence[Candidate]) -> str:
    if any(one.is_connected for one in candidates):
        return f"No connected host's agent can {kind} yet: update the agents."
    return (
        f"None of the {counted(len(candidates), 'host')} that use it is connected."
        if candidates
        else "No host uses it."
    )
