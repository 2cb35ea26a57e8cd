"""Snapshots, as hosts list them."""

from datetime import datetime

from rm.errors import NotFound
from rm.events import EventBus, SnapshotsChanged
from rm.services import retention_changes
from rm.shared import instants
from rm.shared.protocol import SnapshotsReport
from rm.store import hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Repository, Snapshot, SnapshotListing

_KEY = (Snapshot.repository, Snapshot.id)
_TOLD = (
    Snapshot.time, Snapshot.hostname, Snapshot.username, Snapshot.paths, Snapshot.tags, Snapshot.total_bytes,
    Snapshot.total_files, Snapshot.data_added, Snapshot.listing_id, Snapshot.utc_offset_minutes,
)  # fmt: skip


def keep_report(bus: EventBus, *, host_id: str, report: SnapshotsReport, now: datetime) -> None:
    """Take one part of a listing; the last part replaces the listing before. Raises NotFound for another repository.

    Two hosts may list the same repository at once: parts of an older listing never undo what a newer one said.
    """
    taken_at = min(instants.from_text(report.taken_at), now)
    repository_id = report.repository_id
    with changes():
        host = hosts.get(host_id)
        if host.repository_id is None or host.repository_id != repository_id:
            raise NotFound("This host does not use that repository.")
        known = SnapshotListing.get_or_none(SnapshotListing.repository == repository_id)
        before = known.listing_id if known is not None else ""
        if known is not None and known.taken_at > taken_at:
            if report.is_last and report.listing_id < before:
                _remove(repository_id, Snapshot.listing_id == report.listing_id)
            return
        _keep(report, before)
        if not report.is_last:
            return
        is_older = (Snapshot.listing_id < report.listing_id) | (Snapshot.listing_id == before)
        _remove(repository_id, (Snapshot.listing_id != report.listing_id) & is_older)
        SnapshotListing.insert(
            repository=repository_id, listing_id=report.listing_id, taken_at=taken_at, host_id=host_id,
            total=report.total,
        ).on_conflict_replace().execute()  # fmt: skip
        Repository.update(snapshot_count=report.total, stats_at=now).where(Repository.id == repository_id).execute()
        retention_changes.look_again(repository_id, now=now)
        publish_after_commit(bus, SnapshotsChanged(repository_id))


def _keep(report: SnapshotsReport, before: str) -> None:
    rows = [
        {
            "repository": report.repository_id,
            "id": item.id,
            "time": item.time,
            "hostname": item.hostname,
            "username": item.username,
            "paths": item.paths,
            "tags": item.tags,
            "total_bytes": item.total_bytes,
            "total_files": item.total_files,
            "data_added": item.data_added,
            "listing_id": report.listing_id,
            "utc_offset_minutes": item.utc_offset_minutes,
        }
        for item in report.items
    ]
    if rows:
        Snapshot.insert_many(rows).on_conflict(
            conflict_target=_KEY, preserve=_TOLD,
            where=(Snapshot.listing_id <= report.listing_id) | (Snapshot.listing_id == before),
        ).execute()  # fmt: skip


def _remove(repository_id: str, condition: object) -> None:
    Snapshot.delete().where(Snapshot.repository == repository_id, condition).execute()
