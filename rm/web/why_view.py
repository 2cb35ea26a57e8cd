"""The card "Why" of a host: each source group with its sentence, since when, until when, and what comes next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain import health
from rm.domain.group_standing import Standing
from rm.domain.group_verdict import skip_words
from rm.store import verdicts
from rm.store.host_rows import HostGroup, HostRow
from rm.store.verdicts import GroupRow

SKIPPED_SHOWN = 5
WORDS = health.WORDS | {"ok": "Backed up", "manual": "By hand", "": "Not judged yet", "running": "Running"}
KINDS = {
    "late": "warning", "missed": "failed", "never": "waiting", "retrying": "retry", "waits": "queue",
    "skipped": "skip", "manual": "ok", "": "waiting",
}  # fmt: skip


@dataclass(frozen=True)
class GroupLine:
    """One source group as the card shows it."""

    kept: GroupRow
    now: Standing
    kind: str
    word: str
    text: str
    next_word: str
    nothing_next: str
    is_protected: bool
    late_at: datetime | None
    is_late: bool


@dataclass(frozen=True)
class SkippedLine:
    """Runs that were due and did not take place."""

    group: str
    count: int
    due_to: datetime
    why: str
    job_id: str | None


def card(row: HostRow, now: datetime) -> dict[str, Any]:
    """What the card shows."""
    groups = [_line(row, one, now) for one in row.groups]
    skipped = [
        SkippedLine(one.source_group, one.count, one.due_to, skip_words(one.reason, one.message), one.job_id)
        for one in verdicts.list_skipped(row.host.id, limit=SKIPPED_SHOWN)
    ]
    return {"groups": groups, "skipped": skipped, "is_shared": len(groups) > 1}


def _line(row: HostRow, one: HostGroup, now: datetime) -> GroupLine:
    kept = one.kept
    late_at = kept.late_at if kept.is_scheduled and kept.late_at != kept.protected_until else None
    word = WORDS[one.now.code]
    return GroupLine(
        kept=kept,
        now=one.now,
        kind=KINDS.get(one.now.code, one.now.code),
        word=word,
        text="" if one.now.text == f"{word}." else one.now.text,
        next_word="next try" if one.now.code == "retrying" else "next run",
        nothing_next=_nothing_next(row, kept),
        is_protected=health.is_protected(kept.protected_until, now),
        late_at=late_at,
        is_late=late_at is not None and late_at <= now,
    )


def _nothing_next(row: HostRow, group: GroupRow) -> str:
    if not group.is_scheduled:
        return "no schedule"
    return "not known yet" if row.is_online else "not known: the host is silent"
