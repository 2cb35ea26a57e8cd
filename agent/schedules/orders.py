"""What a run that the agent fires itself is ordered as, and how its reports name it."""

import hashlib
import json
from datetime import datetime
from typing import Any

from rm.shared import ids, instants
from rm.shared.protocol import CommandRun, FiredRun, SourceGroupSpec


def job_id(*, schedule_id: str, group: str, due_at: datetime, attempt: int, era: int = 0) -> str:
    """The one id of this attempt at this due run: whoever works it out again gets the same."""
    facts = [schedule_id, group, instants.to_text(due_at), attempt, era]
    digest = hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).digest()
    return ids.ulid(int(due_at.timestamp() * 1000), int.from_bytes(digest[:10], "big"))


def backup(*, job_id: str, group: SourceGroupSpec, hostname: str, fired: FiredRun) -> CommandRun:
    """The order for a backup of the group, as a server would give it."""
    known = group.restic_repository_id
    return CommandRun(
        job_id=job_id,
        kind="backup",
        repository_id=group.repository_id,
        source_group=group.name,
        includes=group.includes,
        excludes=group.excludes,
        hostname=hostname,
        parameters={"restic_repository_id": known} if known else {},
        group=group,
        fired=fired,
    )


def facts(order: CommandRun | None) -> dict[str, Any]:
    """The fields by which JobStarted and JobFinished tell of a run that the server may not know yet."""
    if order is None or order.fired is None:
        return {}
    return {
        "kind": order.kind,
        "source_group": order.source_group,
        "schedule_id": order.fired.schedule_id,
        "due_at": order.fired.due_at,
        "why_late": order.fired.why_late,
        "repository_id": order.repository_id,
        "attempt": order.fired.attempt,
    }
