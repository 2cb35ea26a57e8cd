"""Lists of snapshots as reports that fit into frames."""

import dataclasses
import json

from agent import clock
from rm.shared import ids
from rm.shared.protocol import MAX_SNAPSHOTS_PER_REPORT, Snapshot, SnapshotsReport

PART_BYTES = 400_000
PATHS_BYTES = 100_000


def reports(*, repository_id: str, snapshots: list[Snapshot]) -> list[SnapshotsReport]:
    """The parts of a full list, each small enough for a frame; an empty list is one empty part."""
    parts: list[list[Snapshot]] = [[]]
    size = 0
    for snapshot in map(_shortened, snapshots):
        more = len(json.dumps(dataclasses.asdict(snapshot)))
        if parts[-1] and (size + more > PART_BYTES or len(parts[-1]) >= MAX_SNAPSHOTS_PER_REPORT):
            parts.append([])
            size = 0
        parts[-1].append(snapshot)
        size += more
    listing_id, taken_at = ids.new_ulid(), clock.now()
    return [
        SnapshotsReport(
            repository_id=repository_id,
            listing_id=listing_id,
            taken_at=taken_at,
            total=len(snapshots),
            part=number,
            is_last=number == len(parts) - 1,
            items=items,
        )
        for number, items in enumerate(parts)
    ]


def _shortened(snapshot: Snapshot) -> Snapshot:
    kept: list[str] = []
    size = 0
    for path in snapshot.paths:
        size += len(json.dumps(path))
        if size > PATHS_BYTES:
            break
        kept.append(path)
    return dataclasses.replace(snapshot, paths=kept)
