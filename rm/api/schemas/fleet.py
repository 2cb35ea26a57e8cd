"""What concerns the fleet as a whole: alerts, releases, tokens, whoever calls."""

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
    one_of,
    record,
    text,
    whole,
)

AT = nothing_or(INSTANT)
ROLE = one_of("viewer", "operator", "admin")

COMPONENTS["Alert"] = record(
    "id kind severity state host_id message first_seen_at last_seen_at count",
    id=ID, kind=TEXT, severity=one_of("warning", "critical"), state=one_of("raised", "acknowledged", "resolved"),
    host_id=nothing_or(ID), repository_id=nothing_or(ID), message=TEXT, first_seen_at=INSTANT, last_seen_at=INSTANT,
    count=WHOLE, acknowledged_at=AT, acknowledged_by=nothing_or(TEXT), resolved_at=AT, resolved_by=nothing_or(TEXT),
    note=TEXT, incident_id=nothing_or(ID), snoozed_until=AT,
)  # fmt: skip
COMPONENTS["Release"] = record(
    "*",
    id=ID, version=TEXT, seq=WHOLE, channel=TEXT, state=one_of("current", "imported", "withdrawn"),
    withdrawn_why=nothing_or(TEXT), released_at=INSTANT, expires_at=INSTANT, imported_at=INSTANT, imported_by=TEXT,
    promoted_at=AT, key_id=TEXT, keyset_version=WHOLE, guard_min=WHOLE, min_from_seq=WHOLE,
    artifacts={"type": "array"},
)  # fmt: skip
COMPONENTS["Promotion"] = record(
    force=described(FLAG, "For a release that is older than one that hosts were to run before; wants a reason."),
    reason=TEXT,
)
COMPONENTS["Announcing"] = record("is_enabled", is_enabled=FLAG)
COMPONENTS["Token"] = record(
    "*",
    id=ID, name=TEXT, role=ROLE, tags=listed(TEXT), owner=described(nothing_or(TEXT), "null: the command line's."),
    state=one_of("good", "expired", "revoked"), created_by=TEXT, created_at=INSTANT, expires_at=AT, last_used_at=AT,
    last_address=nothing_or(TEXT), revoked_at=AT,
)  # fmt: skip
COMPONENTS["NewToken"] = record(
    "name role",
    name=text(100, least=1), role=ROLE,
    tags=described(listed(text(50), most=100), "Only for hosts with one of these tags; empty: for all."),
    expires_in_days=whole(1, 365, said="90 unless said."),
)  # fmt: skip
COMPONENTS["TokenMade"] = record(
    "id token", token=described(TEXT, "Shown this once."), **COMPONENTS["Token"]["properties"]
)
COMPONENTS["Caller"] = record(
    "*", kind=one_of("user", "token"), id=ID, name=TEXT, role=ROLE, tags=listed(TEXT), permissions=listed(TEXT)
)
