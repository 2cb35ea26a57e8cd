"""What each repository needs next, and why not yet: its policies, groups, hosts and open jobs at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rm.domain import health, retention
from rm.domain import maintenance as rules
from rm.domain.actors import SERVER
from rm.domain.maintenance import AtRepository, Candidate, Decision
from rm.services import maintenance_policies
from rm.services.maintenance_ends import condition_of, last_of
from rm.shared.words import counted
from rm.store import jobs as job_store
from rm.store import maintenance, repositories
from rm.store.database import changes
from rm.store.models import Host, Job, MaintenancePolicy, Repository, SourceGroup


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
    return Looked.at(repository, now).outlook()


@dataclass(frozen=True)
class Looked:
    """A repository as it is at one moment: its policies, groups, hosts and open jobs.

    Nothing is forgotten of the groups that are `contested` or `held`; they are not among `groups`.
    """

    repository: Repository
    now: datetime
    policies: dict[str, MaintenancePolicy]
    groups: list[SourceGroup]
    open_jobs: list[Job]
    candidates: list[Candidate]
    contested: list[tuple[SourceGroup, list[str]]]
    held: list[SourceGroup]

    @classmethod
    def at(cls, repository: Repository, now: datetime) -> "Looked":
        """What is known of this repository now."""
        counts = maintenance.open_counts(repository.id)
        usable = [group for group in maintenance.list_groups_with_retention(repository.id) if _is_usable(group)]
        contested = maintenance.list_contested(repository.id) if usable else {}
        return cls(
            repository=repository,
            now=now,
            policies={policy.kind: policy for policy in maintenance.list_policies(repository.id)},
            groups=[group for group in usable if group.id not in contested and not group.retention_hold],
            open_jobs=job_store.open_for_repository(repository.id),
            candidates=[
                _candidate(host, counts.get(host.id, 0), now) for host in maintenance.list_users(repository.id)
            ],
            contested=[(group, contested[group.id]) for group in usable if group.id in contested],
            held=[group for group in usable if group.retention_hold and group.id not in contested],
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
        if kind == "forget" and not self.groups and (self.contested or self.held):
            return self.left_out()
        if kind == "forget" and not self.groups:
            return "no source group that backs up here has a retention: everything is kept"
        return ""

    def left_out(self) -> str:
        """Of which groups nothing is forgotten, and why; empty when there are none."""
        told = [_contested_words(self.contested)] if self.contested else []
        return "; ".join(told + ([_held_words(self.held)] if self.held else []))

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
            at_repository=[at_repository(job) for job in self.open_jobs if _counts(job)],
            owner_id=group.host_id if group is not None else "",
            blocked=self.blocked(policy.kind),
        )
        is_forget = policy.kind == "forget"
        note = self.left_out() if is_forget and self.groups else ""
        return Next(policy, decision, plan, group, len(self.groups) if is_forget else 0, note)


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


def _held_words(held: Sequence[SourceGroup]) -> str:
    """Why nothing is forgotten of groups whose retention nobody has looked at there."""
    more = f" (and {counted(len(held) - 1, 'more group')})" if len(held) > 1 else ""
    return f"{held[0].name} on {held[0].host.name}{more} waits: {held[0].retention_hold}"


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


def at_repository(job: Job) -> AtRepository:
    """The job as the rules see it."""
    return AtRepository(
        id=job.id,
        kind=job.kind,
        host_name=job.host.name,
        since=job.started_at or job.dispatched_at or job.created_at,
        is_sent=job.dispatched_at is not None,
        is_waiting=job.dispatched_at is None or (job.progress or {}).get("phase") == "waiting",
    )
