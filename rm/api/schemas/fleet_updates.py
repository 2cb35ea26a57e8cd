"""Fleet updates: plans, waves, hosts, and what happened."""

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
    ref,
    text,
)

AT = nothing_or(INSTANT)
_SHARE = {"type": ["integer", "string"]}
_POLICY = {"anyOf": [one_of("strict"), record("budget", closed=True, budget=_SHARE)]}
_HEAD = {
    "id": ID,
    "state": one_of(
        "planned", "running", "paused", "halted", "cancelling", "cancelled", "completed", "completed_with_exceptions"
    ),
    "reason": nothing_or(TEXT), "release_id": nothing_or(ID), "to_version": TEXT, "to_seq": WHOLE,
    "options": {"type": "object"}, "estimate_seconds": nothing_or(WHOLE), "counts": {"type": "object"},
    "halted_host_id": nothing_or(ID), "created_by": TEXT, "created_at": AT, "started_at": AT, "ended_at": AT,
}  # fmt: skip

COMPONENTS["FleetUpdateHead"] = record("*", **_HEAD)
COMPONENTS["FleetUpdateHost"] = record(
    "*", host_id=ID, name=TEXT, verdict=TEXT, reason=nothing_or(TEXT), wave=nothing_or(WHOLE),
    position=nothing_or(WHOLE), state=nothing_or(TEXT), attempt_id=nothing_or(ID), changed_at=AT,
)  # fmt: skip
COMPONENTS["FleetUpdate"] = record(
    " ".join([*_HEAD, "next", "hosts"]),
    **_HEAD,
    next=nothing_or(TEXT),
    hosts=listed(ref("FleetUpdateHost")),
    uncovered_platforms=listed(TEXT),
    suggestion=nothing_or({"type": "object"}),
    changes=listed(TEXT),
)
COMPONENTS["NewFleetUpdate"] = record(
    closed=True,
    tags=nothing_or(listed(text(100, least=1), most=50)),
    host_ids=nothing_or(listed(text(100, least=1), most=10_000)),
    canaries=described(
        {"type": ["integer", "string", "array", "null"], "items": TEXT},
        'A number of hosts, "per_platform", or the ids of hosts.',
    ),
    waves=nothing_or(listed(_SHARE, most=20)),
    max_in_flight=nothing_or(WHOLE),
    soak_seconds=nothing_or(WHOLE),
    failure_policy=nothing_or(_POLICY),
    max_vanished=nothing_or(WHOLE),
    server_host_id=nothing_or(text(100)),
    dry_run=described(FLAG, "Plan only; start it later with …/start."),
)
COMPONENTS["FleetUpdateEvent"] = record(
    "*", id=WHOLE, at=INSTANT, kind=TEXT, host_id=nothing_or(ID), actor=nothing_or(TEXT), text=TEXT
)
COMPONENTS["FleetUpdateExplained"] = record(
    "*", host_id=ID, state=nothing_or(TEXT), verdict=nothing_or(TEXT), explanation=TEXT
)
COMPONENTS["FleetUpdateStart"] = record(accept_changes=FLAG)
COMPONENTS["FleetUpdateCancel"] = record(mode=described(TEXT, "soft (after the current hosts) or hard."), reason=TEXT)
COMPONENTS["FleetUpdateHosts"] = record(host_ids=listed(TEXT, most=1000), reason=TEXT)
