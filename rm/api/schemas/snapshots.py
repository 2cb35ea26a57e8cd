"""Snapshots, what is in them, restores and comparisons."""

from rm.api.shapes import (
    COMPONENTS,
    FLAG,
    ID,
    INSTANT,
    TEXT,
    WHOLE,
    described,
    listed,
    nothing_or,
    record,
    ref,
)

COMPONENTS["Snapshot"] = record(
    "id time hostname paths tags",
    id=ID, time=INSTANT, hostname=TEXT, username=TEXT, paths=listed(TEXT), tags=listed(TEXT),
    total_bytes=nothing_or(WHOLE), total_files=nothing_or(WHOLE), data_added=nothing_or(WHOLE),
)  # fmt: skip
COMPONENTS["Entry"] = record(
    "*", name=TEXT, path=TEXT, type=TEXT, size=nothing_or(WHOLE), mtime=nothing_or(INSTANT), mode=TEXT, target=TEXT,
    selectable=FLAG,
)  # fmt: skip
COMPONENTS["Found"] = record("*", items=listed(ref("Entry")), is_cut=FLAG, through_host_id=ID)
COMPONENTS["Restore"] = record(
    "snapshot_id",
    snapshot_id=ID, paths=described(listed(TEXT, most=1000), "What to restore; leave it out with everything."),
    everything=described(FLAG, "The whole snapshot."),
    target=described(TEXT, "A folder below the host's restore directory; a fresh one unless said."),
    in_place=described(FLAG, "Put each file back to where it was; wants typed_name."),
    typed_name=described(TEXT, "The host's name, for a restore in place."),
)  # fmt: skip
COMPONENTS["Comparison"] = record("snapshot_a snapshot_b", snapshot_a=ID, snapshot_b=ID)
