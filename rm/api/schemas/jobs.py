"""Jobs, and attempts to update a host's agent."""

from rm.api.shapes import (
    COMPONENTS,
    FLAG,
    ID,
    INSTANT,
    NUMBER,
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

COMPONENTS["Job"] = record(
    "id kind state outcome host_id created_at",
    id=ID, kind=TEXT, state=one_of("queued", "running", "finished"),
    outcome=nothing_or(one_of("succeeded", "warnings", "failed", "cancelled", "lost")), host_id=ID,
    repository_id=nothing_or(ID), source_group=nothing_or(TEXT), reason=TEXT, message=TEXT,
    exit_code=nothing_or(WHOLE), requested_by=TEXT, schedule_id=nothing_or(ID), due_at=AT, why_late=nothing_or(TEXT),
    attempt=WHOLE, created_at=INSTANT, waits_for=nothing_or(TEXT), expires_at=AT, started_at=AT, finished_at=AT,
    cancel_requested_at=AT, progress=nothing_or({"type": "object"}), summary={"type": "object"},
    update=described(ref("UpdateAttempt"), "Only of jobs of the kind update."),
)  # fmt: skip
COMPONENTS["UpdateAttempt"] = record(
    "*",
    state=TEXT, phase=nothing_or(TEXT), percent=nothing_or(NUMBER), provisional=FLAG, late=FLAG, proven=FLAG,
    rollback=FLAG, revert_failed=FLAG, from_=nothing_or(TEXT), from_seq=nothing_or(WHOLE), to=nothing_or(TEXT),
    to_seq=nothing_or(WHOLE), reason=nothing_or(TEXT), failure_class=nothing_or(TEXT), forced=FLAG,
    fleet_update_id=nothing_or(ID), since=AT, deadline_at=AT, now=nothing_or(TEXT), next=nothing_or(TEXT),
    message=nothing_or(TEXT),
    events=listed(record("*", at=INSTANT, state=TEXT, phase=nothing_or(TEXT), text=TEXT)),
)  # fmt: skip
COMPONENTS["NewJob"] = record(
    "kind",
    kind=described(TEXT, "backup, init, check, unlock, prune or snapshots."),
    source_group_id=described(TEXT, "For backup and forget: which group."),
    subset=described(TEXT, "For check: a part such as 1/10 or 5%."),
)
COMPONENTS["JobOrdered"] = record("*", job_id=ID)
COMPONENTS["UpdateOrder"] = record(
    soak_seconds=whole(0, 86_400, said="How long the host must stay healthy after its hello; 60 unless said."),
    force=described(FLAG, "Although the host is held, or not behind; wants a reason."),
    reason=TEXT,
)
COMPONENTS["AttemptOrdered"] = record("*", attempt_id=ID)
COMPONENTS["Reason"] = record(reason=text(500))
COMPONENTS["LogLine"] = record("*", n=WHOLE, at=INSTANT, stream=TEXT, text=TEXT)
