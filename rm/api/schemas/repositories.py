"""Repositories and how they are kept in order."""

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
)

AT = nothing_or(INSTANT)
_PARTS = {
    "id": ID, "name": TEXT, "location": TEXT, "restic_repository_id": nothing_or(TEXT),
    "snapshot_count": nothing_or(WHOLE), "tested_at": AT, "test_ok": nothing_or(FLAG), "test_message": TEXT,
    "test_reason": TEXT, "is_append_only": FLAG, "total_bytes": nothing_or(WHOLE),
    "other_restic_repository_id": nothing_or(TEXT), "checked_at": AT, "check_ok": nothing_or(FLAG), "pruned_at": AT,
}  # fmt: skip
_SECRET = described(TEXT, "Never given back; blank keeps the stored one.")

COMPONENTS["Repository"] = record("*", **_PARTS)
COMPONENTS["RepositoryWithHosts"] = record("*", **_PARTS, host_ids=listed(ID), has_maintenance_credential=FLAG)
COMPONENTS["RepositoryForm"] = record(
    "name location", name=TEXT, location=described(TEXT, "As restic takes it, without user and password."),
    password=_SECRET, username=TEXT, secret=_SECRET,
)  # fmt: skip
COMPONENTS["RepositoryChange"] = record(
    said="What is not named stays as it is.",
    name=TEXT, location=TEXT, password=_SECRET, username=TEXT, secret=_SECRET,
    typed_name=described(TEXT, "The repository's name; another location wants it."),
    is_same=described(FLAG, "Whether the same repository is at the other location; true unless said."),
)  # fmt: skip
COMPONENTS["MaintenanceCredential"] = record(
    said="Without username and location the credential is forgotten.",
    username=TEXT, secret=_SECRET, location=TEXT, is_append_only=FLAG,
)  # fmt: skip
COMPONENTS["TypedName"] = record("typed_name", typed_name=described(TEXT, "The name, as a person would type it."))
COMPONENTS["TestResult"] = record("*", ok=FLAG, reason=TEXT, message=TEXT)
COMPONENTS["MaintenanceForm"] = record(
    said="What is not named stays as it is.",
    is_enabled=FLAG, every_hours=WHOLE, box_minutes=WHOLE, parts=WHOLE, window_from=TEXT, window_to=TEXT,
    timezone=TEXT,
)  # fmt: skip
COMPONENTS["Maintenance"] = record(
    "kind is_enabled next note",
    kind=TEXT, is_enabled=FLAG, every_hours=WHOLE, box_minutes=WHOLE, parts=WHOLE, window_from=TEXT, window_to=TEXT,
    timezone=TEXT, next_part=nothing_or(WHOLE), round_started_at=AT, last_job_id=nothing_or(ID), last_started_at=AT,
    last_ended_at=AT, last_outcome=nothing_or(TEXT), last_message=TEXT,
    next=record("*", code=TEXT, text=TEXT, at=AT), note=nothing_or(TEXT),
)  # fmt: skip
COMPONENTS["SizeOfDay"] = record("*", day=TEXT, total_bytes=nothing_or(WHOLE), snapshot_count=nothing_or(WHOLE))
COMPONENTS["HostChosen"] = record("host_id", host_id=ID)
