"""Snapshots, as hosts list them."""

from datetime import datetime

from rm.errors import NotFound
from rm.events import EventBus, SnapshotsChanged
from rm.shared import instants
from rm.shared.protocol import SnapshotsReport
from rm.store import hosts
from rm.store.database import changes, publish_after_commit
from rm.store.models import Repository, Snapshot, SnapshotListing


def keep_report(bus: EventBus, *, host_id: str, report: SnapshotsReport, now: datetime) -> None:
    """Take one part of a listing; the last part replaces the listing before. Raises NotFound for another repository."""
    taken_at = min(instants.from_text(report.taken_at), now)
    with changes():
        host = hosts.get(host_id)
        if host.repository_id is None or host.repository_id != report.repository_id:
            raise NotFound("This host does not use that repository.")
        known = SnapshotListing.get_or_none(SnapshotListing.repository == report.repository_id)
        if known is not None and known.taken_at > taken_at:
            return
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
            }
            for item in report.items
        ]
        if rows:
            Snapshot.insert_many(rows).on_conflict_replace().execute()
        if not report.is_last:
            return
        Snapshot.delete().where(
            Snapshot.repository == report.repository_id, Snapshot.listing_id != report.listing_id
        ).execute()
        SnapshotListing.insert(
            repository=report.repository_id,
            listing_id=report.listing_id,
            taken_at=taken_at,
            host_id=host_id,
            total=report.total,
        ).on_conflict_replace().execute()
        Repository.update(snapshot_count=report.total, stats_at=now).where(
            Repository.id == report.repository_id
        ).execute()
        publish_after_commit(bus, SnapshotsChanged(report.repository_id))
