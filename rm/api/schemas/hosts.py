"""Hosts, and hosts that wait to be let in."""

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
    whole,
)

AT = nothing_or(INSTANT)
MODE = one_of("always_on", "intermittent")

COMPONENTS["GroupVerdict"] = record(
    "*", id=ID, name=TEXT, mode=TEXT, is_scheduled=FLAG, code=TEXT, text=TEXT, since=AT, next_at=AT, late_at=AT,
    protected_until=AT, last_good_at=AT,
)  # fmt: skip
COMPONENTS["Host"] = record(
    "*",
    id=ID, name=TEXT, hostname=TEXT, os=TEXT, os_name=nothing_or(TEXT), arch=TEXT, tags=listed(TEXT), mode=MODE,
    status=one_of("online", "offline", "revoked"),
    health=record("*", code=TEXT, word=TEXT, why=TEXT, is_protected=FLAG),
    verdict=record("*", code=TEXT, text=TEXT, protected_until=AT),
    groups=listed(ref("GroupVerdict")),
    agent_version=TEXT, agent_seq=WHOLE, restic_version=nothing_or(TEXT), pinned=FLAG, held_reason=nothing_or(TEXT),
    repository=nothing_or(ref("Repository")),
    config=record("*", wanted=WHOLE, applied=WHOLE),
    schedules=record("*", wanted=WHOLE, applied=WHOLE, problem=nothing_or(TEXT), is_supported=FLAG),
    hooks=record("*", names=listed(TEXT), policy=nothing_or(TEXT)),
    restores=record("*", directory=nothing_or(TEXT), allows_in_place=FLAG),
    timezone=nothing_or(TEXT), features=listed(TEXT), enrolled_at=AT, connected_at=AT, last_seen_at=AT,
    last_good_at=AT, next_run_at=AT, revoked_at=AT, running_job_id=nothing_or(ID),
)  # fmt: skip
COMPONENTS["HostChange"] = record(
    said="What is not named stays as it is.",
    name=text(253, least=1), tags=listed(text(50), most=100), mode=MODE,
)  # fmt: skip
COMPONENTS["PendingHost"] = record(
    "*", id=ID, state=TEXT, fingerprint=TEXT, hostname=TEXT, os=TEXT, arch=TEXT, agent_version=TEXT, agent_seq=WHOLE,
    address=TEXT, announced_at=AT, expires_at=AT, decided_at=AT, decided_by=nothing_or(TEXT), host_id=nothing_or(ID),
    same_name=record("*", host_ids=listed(ID), pending_ids=listed(ID)),
    looks_like_host_id=described(nothing_or(ID), "A host with the same machine id; a hint, not an identity."),
)  # fmt: skip
COMPONENTS["NewEnrolmentToken"] = record(
    max_uses=whole(1, 10_000, said="How many hosts may come in with it; 1 unless said."),
    expires_in_seconds=whole(60, 30 * 24 * 3600, said="3600 unless said."),
    tags=listed(text(50), most=100),
)
COMPONENTS["EnrolmentToken"] = record(
    "*", id=ID, token=described(TEXT, "Shown this once."), expires_at=INSTANT, install_command=TEXT
)
COMPONENTS["OpenEnrolmentToken"] = record(
    "*", id=ID, uses=WHOLE, max_uses=WHOLE, tags=listed(TEXT), created_by=TEXT, created_at=INSTANT, expires_at=INSTANT
)
COMPONENTS["EnrolmentTokenSeen"] = record(
    "*", id=ID, is_open=FLAG, uses=WHOLE, max_uses=WHOLE, tags=listed(TEXT), created_by=TEXT, created_at=INSTANT,
    expires_at=INSTANT, host_ids=listed(ID),
)  # fmt: skip
