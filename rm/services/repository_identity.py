"""Which repository it is: the id in restic's own config, learned once and compared ever after."""

from datetime import datetime

from rm.domain.actors import Actor
from rm.errors import Conflict, Invalid
from rm.events import EventBus
from rm.services import audit, repository_hosts, retention_changes, schedule_sets
from rm.store import repositories
from rm.store.database import changes
from rm.store.models import Repository, Snapshot, SnapshotListing


def accept(bus: EventBus, *, repository_id: str, typed_name: str, actor: Actor, now: datetime) -> Repository:
    """Take the repository that is at the place now for the right one. Raises Invalid, or Conflict if none differs."""
    with changes():
        repository = repositories.get(repository_id)
        seen = repository.restic_id_seen
        if not seen:
            raise Conflict("The repository at this place is the one that is known.", code="nothing_to_accept")
        if typed_name.strip() != repository.name:
            raise Invalid({"typed_name": f"Type {repository.name} exactly to accept the other repository."})
        before = repository.restic_repository_id
        forget(repository_id)
        schedule_sets.changed_at_repository(bus, repository_id=repository_id, now=now)
        Repository.update(restic_repository_id=seen).where(Repository.id == repository_id).execute()
        audit.record(
            actor, "repository.identity_accepted", now=now, kind="repository", id=repository_id,
            name=repository.name, before=before, after=seen,
        )  # fmt: skip
        repository_hosts.tell(bus, repository_id)
        return repositories.get(repository_id)


def learn(bus: EventBus, repository: Repository, restic_id: str, now: datetime) -> bool:
    """Learn the id of restic's own config, or compare it with the known one; False when another was found."""
    known = repository.restic_repository_id
    seen = None if known in (None, restic_id[:64]) else restic_id[:64]
    Repository.update(restic_repository_id=known or restic_id[:64], restic_id_seen=seen).where(
        Repository.id == repository.id
    ).execute()
    if known is None:
        schedule_sets.changed_at_repository(bus, repository_id=repository.id, now=now)
    return seen is None


def difference(repository: Repository, restic_id: str) -> str:
    """The sentence for people when another repository was found than the one that is known."""
    return (
        f"It opens, but it is another repository: its id is {restic_id[:10]}, known is"
        f" {(repository.restic_repository_id or '')[:10]}. No job writes to it until an administrator accepts it."
    )


def forget(repository_id: str) -> None:
    """What was known of the repository at the place before: its id, figures and snapshots."""
    Repository.update(
        restic_repository_id=None, restic_id_seen=None, total_bytes=None, snapshot_count=None, stats_at=None,
        tested_at=None, test_ok=None, test_reason="", test_message="",
    ).where(Repository.id == repository_id).execute()  # fmt: skip
    Snapshot.delete().where(Snapshot.repository == repository_id).execute()
    SnapshotListing.delete().where(SnapshotListing.repository == repository_id).execute()
    retention_changes.hold_repository(repository_id)
