"""Which hosts use a repository, and that they hear of its changes."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.domain.jobs import UPDATE
from rm.errors import Conflict, NotFound
from rm.events import EventBus, HostChanged, HostConfigChanged, RepositoryChanged
from rm.services import audit, retention_changes, schedule_sets
from rm.store import hosts, jobs, repositories
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Repository


def unassign(bus: EventBus, *, repository_id: str, host_id: str, actor: Actor, now: datetime) -> None:
    """Take the repository and its secrets from a host; nothing in it changes. Raises NotFound, or Conflict."""
    with changes():
        host = hosts.get(host_id)
        repository = repositories.get(repository_id)
        if host.repository_id != repository_id:
            raise NotFound(f"{host.name} does not use this repository.")
        if any(job.kind != UPDATE for job in jobs.open_for_host(host_id)):
            raise Conflict(
                f"{host.name} has jobs that have not ended.", code="jobs_open",
                help="Cancel them, or wait for their end, first.",
            )  # fmt: skip
        Host.update(repository=None, config_version=Host.config_version + 1).where(Host.id == host_id).execute()
        schedule_sets.changed(bus, host_id=host_id, now=now)
        audit.record(
            actor, "repository.unassigned", now=now, kind="repository", id=repository_id, name=repository.name,
            host=host.name,
        )  # fmt: skip
        publish_after_commit(
            bus, HostConfigChanged(host_id), HostChanged(host_id), RepositoryChanged(repository_id)
        )  # fmt: skip


def use_existing(bus: EventBus, *, host_id: str, repository_id: str, actor: Actor, now: datetime) -> Repository:
    """Let a host back up to a repository that other hosts use already."""
    with changes():
        host = hosts.get(host_id)
        repository = repositories.get(repository_id)
        if host.repository_id != repository.id:
            Host.update(repository=repository.id, config_version=Host.config_version + 1).where(
                Host.id == host_id
            ).execute()
            retention_changes.hold_host(hosts.get(host_id), now=now)
            schedule_sets.changed(bus, host_id=host_id, now=now)
            audit.record(
                actor,
                "repository.assigned",
                now=now,
                kind="repository",
                id=repository.id,
                name=repository.name,
                host=host.name,
            )
            publish_after_commit(
                bus, HostConfigChanged(host_id), HostChanged(host_id), RepositoryChanged(repository.id)
            )
        return repository


def assign(bus: EventBus, *, host_id: str, repository_id: str, actor: Actor, now: datetime) -> Repository:
    """Let a host that has no repository use this one. Raises Conflict when it has another."""
    with changes():
        host = hosts.get(host_id)
        if host.repository_id not in (None, repository_id):
            raise Conflict(
                f"{host.name} uses another repository.", code="has_repository",
                help="Take that one from it first, on its page.",
            )  # fmt: skip
        return use_existing(bus, host_id=host_id, repository_id=repository_id, actor=actor, now=now)


def tell(bus: EventBus, repository_id: str) -> None:
    """Have every host that uses the repository sent its configuration anew; call it inside a transaction."""
    Host.update(config_version=Host.config_version + 1).where(Host.repository == repository_id).execute()
    publish_after_commit(bus, RepositoryChanged(repository_id))
    for host in hosts.list_for_repository(repository_id):
        publish_after_commit(bus, HostConfigChanged(host.id), HostChanged(host.id))
