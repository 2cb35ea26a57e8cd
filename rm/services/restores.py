"""Restores and comparisons: who may have what from which snapshot put where, and the job that does it."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rm.domain import permissions
from rm.domain import snapshots as rules
from rm.domain.actors import Actor
from rm.errors import Conflict, Forbidden, Invalid
from rm.events import EventBus
from rm.services import audit, jobs
from rm.store import hosts, repositories, snapshots
from rm.store.database import changes
from rm.store.models import Host, Job, Repository, Snapshot

IN_PLACE = "/"


@dataclass(frozen=True)
class Wish:
    """What is to be restored from which snapshot, and where: `target` empty is a folder of its own, `paths` empty all.

    `is_in_place` puts each file back to where it was; it wants the host's name typed.
    """

    snapshot_id: str
    paths: tuple[str, ...] = ()
    target: str = ""
    is_in_place: bool = False
    typed_name: str = ""


@dataclass(frozen=True)
class Plan:
    """A wish that can be ordered: the host that restores, from where, and the paths without those that others bring."""

    host: Host
    repository: Repository
    snapshot: Snapshot
    paths: list[str]
    target: str
    is_in_place: bool

    @property
    def shown_target(self) -> str:
        """Where the files will be, as far as it is known before the job has its number."""
        if self.is_in_place:
            return IN_PLACE
        if self.target:
            return self.target
        return f"{self.host.restore_directory or '<restore directory>'}/<number of the job>"


def plan(wish: Wish, *, host_id: str) -> Plan:
    """The wish checked against what this host can do; raises Invalid, Conflict or NotFound."""
    host = hosts.get(host_id)
    repository = _repository_of(host)
    snapshot = snapshots.get(repository.id, wish.snapshot_id)
    refuse_for(host, "restore")
    if problem := rules.paths_problem(wish.paths):
        raise Invalid({"paths": problem}, problem)
    if wish.is_in_place and not host.allows_restore_in_place:
        raise Conflict(
            f"{host.name} does not allow restores in place.", code="in_place_refused",
            help="Restore into a folder and copy from there. The host's owner can allow it, in the agent's own"
            " configuration on the host.",
        )  # fmt: skip
    target = "" if wish.is_in_place else _target(wish.target, host)
    paths = [] if "/" in wish.paths else rules.without_inner(wish.paths)
    return Plan(host, repository, snapshot, paths, target, wish.is_in_place)


def order(bus: EventBus, wish: Wish, *, host_id: str, actor: Actor, now: datetime) -> Job:
    """A queued restore. Raises what plan does, and Forbidden for a restore in place without the right to it."""
    with changes():
        planned = plan(wish, host_id=host_id)
        host = planned.host
        if planned.is_in_place:
            if not permissions.is_allowed(actor.role, "restores.in_place"):
                raise Forbidden(
                    f"Your role, {actor.role}, does not allow restores in place.",
                    help="Restore into a folder, or ask an administrator.",
                )
            if wish.typed_name.strip() != host.name:
                raise Invalid({"typed_name": f"Type {host.name} exactly to overwrite files in place."})
        job = jobs.queue(
            bus, host=host, kind="restore", actor=actor, now=now,
            parameters={
                "snapshot_id": planned.snapshot.id, "paths": planned.paths, "target": planned.target,
                "in_place": planned.is_in_place,
            },
        )  # fmt: skip
        audit.record(
            actor, "restore.ordered", now=now, kind="job", id=job.id, name=host.name, snapshot=planned.snapshot.id,
            snapshot_of=planned.snapshot.hostname, repository=planned.repository.name, paths=planned.paths[:20],
            path_count=len(planned.paths), target=planned.target, in_place=planned.is_in_place,
        )  # fmt: skip
        return job


def order_diff(
    bus: EventBus, *, host_id: str, snapshot_ids: Sequence[str], actor: Actor, now: datetime
) -> Job:  # fmt: skip
    """A queued comparison of two snapshots, the older one first. Raises Invalid, Conflict or NotFound."""
    if len(set(snapshot_ids)) != 2:
        raise Invalid({"snapshots": "Choose two snapshots to compare."}, "Choose two snapshots to compare.")
    with changes():
        host = hosts.get(host_id)
        repository = _repository_of(host)
        refuse_for(host, "diff")
        older, newer = sorted(
            (snapshots.get(repository.id, snapshot_id) for snapshot_id in snapshot_ids),
            key=lambda snapshot: (snapshot.time, snapshot.id),
        )
        return jobs.queue(
            bus, host=host, kind="diff", actor=actor, now=now,
            parameters={"snapshot_a": older.id, "snapshot_b": newer.id},
        )  # fmt: skip


def refuse_for(host: Host, feature: str) -> None:
    """Raises Conflict if this host cannot be given such a job at all."""
    if host.revoked_at is not None:
        raise Conflict(f"{host.name} was revoked; it cannot run jobs.", code="host_revoked")
    if feature not in host.features:
        raise Conflict(
            f"The agent of {host.name} is too old for this.", code="agent_too_old", help="Update the agent first."
        )


def _repository_of(host: Host) -> Repository:
    if host.repository_id is None:
        raise Conflict(f"{host.name} has no repository.", code="no_repository", help="Set one on the host's page.")
    repository = repositories.get(host.repository_id)
    if repository.restic_id_seen:
        raise Conflict(
            f"Another repository is at the place of {repository.name}.", code="repository_changed",
            help="Look at its page: accept the one that is there now, or correct the location.",
        )  # fmt: skip
    return repository


def _target(target: str, host: Host) -> str:
    """Where to, below the host's restore directory; a relative name is taken as one in it. Raises Invalid."""
    wanted = target.strip()
    if not wanted:
        return ""
    root = host.restore_directory.rstrip("/")
    if not wanted.startswith("/"):
        if not root:
            raise Invalid({"target": f"{host.name} has not said where its restore directory is. Leave this empty."})
        wanted = f"{root}/{wanted}"
    if len(wanted) > 4096 or any(ord(sign) < 32 for sign in wanted) or ".." in wanted.split("/"):
        raise Invalid({"target": "Write a folder's name without .. and without control characters."})
    found = posixpath.normpath(wanted)
    if root and not found.startswith(f"{root}/"):
        raise Invalid({"target": f"Restores on {host.name} go below {root}."})
    return found
