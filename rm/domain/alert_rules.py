"""When a condition becomes an alert, what belongs together, what is worse, and when an end counts as one."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rm.domain.alerts import BACKUP_KINDS, KINDS, SEVERITIES, TOLD_AT_LENGTH

MOST_PATIENCE = timedelta(days=30)
MOST_HOLD = timedelta(hours=24)
MOST_TAG_RULES = 50
MEMBERS_TOLD = 100
"""So many alerts of an incident have lines of their own in its timeline: ten thousand lines would tell nobody more."""
SNOOZES = {
    "1h": timedelta(hours=1), "8h": timedelta(hours=8), "1d": timedelta(days=1), "7d": timedelta(days=7),
}  # fmt: skip
LEAST_SNOOZE = timedelta(minutes=5)
MOST_SNOOZE = timedelta(days=90)
FRESH = timedelta(hours=1)
"""So long after an incident was told, wider news of the same cause is no news."""
SHARED_REASONS = frozenset({"unreachable", "no_repository", "wrong_password", "locked", "repository_changed"})
"""Why a job failed, where that is a matter of the repository and not of the host alone."""
HOSTS_THAT_PROVE = 2
"""From so many hosts a repository must be closed before it is the repository that is called unreachable."""
FORGED = frozenset(
    {
        "bad_signature", "bad_comment", "bad_signature_file", "not_prehashed", "unknown_key", "unknown_root",
        "wrong_key_id", "keyset_changed", "wrong_hash", "same_seq_other_hash", "signature", "signature_invalid",
    }
)  # fmt: skip
"""Why a host refused a release that somebody may have tampered with."""
TOGETHER = timedelta(minutes=2)
HOSTS_TOGETHER = 5
"""So many hosts that fall silent within TOGETHER of each other have one cause: their network, their power, ours."""


@dataclass(frozen=True)
class TagRule:
    """Another patience with one kind, for hosts with this tag."""

    tag: str
    kind: str
    patience: timedelta


@dataclass(frozen=True)
class AlertRules:
    """What the settings say of each kind; what they do not mention is as `KINDS` has it."""

    patience: Mapping[str, timedelta] = field(default_factory=dict)
    hold: Mapping[str, timedelta] = field(default_factory=dict)
    by_tag: tuple[TagRule, ...] = ()

    def patience_for(self, kind: str, tags: Iterable[str] = ()) -> timedelta:
        """How long it must hold on a host with these tags; of several tags the least patient speaks."""
        mine = set(tags)
        of_tags = [rule.patience for rule in self.by_tag if rule.kind == kind and rule.tag in mine] if mine else []
        patience = min(of_tags) if of_tags else self.patience.get(kind, KINDS[kind].patience)
        return max(patience, KINDS[kind].least)

    def hold_for(self, kind: str) -> timedelta:
        """How long its end must hold until it is told."""
        return self.hold.get(kind, KINDS[kind].hold)

    def least_patience(self, kind: str) -> timedelta:
        """The patience with the least patient host."""
        of_tags = [rule.patience for rule in self.by_tag if rule.kind == kind]
        return max(min([self.patience_for(kind), *of_tags]), KINDS[kind].least)

    def depends_on_tags(self, kind: str) -> bool:
        return any(rule.kind == kind for rule in self.by_tag)


def cause_of(kind: str, condition: str, cause: str = "") -> str:
    """What the alert's incident is about. Late, failed and missed are one matter; other kinds are one each."""
    if cause:
        return cause
    return f"backup/{condition}" if kind in BACKUP_KINDS else f"{kind}/{condition}"


def cause_of_failure(reason: str, repository_id: str | None) -> str:
    """The cause that a job which failed for this reason shares with others; empty where it has none."""
    return f"repository:{repository_id}" if repository_id and reason in SHARED_REASONS else ""


def is_forged(reason: str) -> bool:
    """Whether a host refused an update for what looks like another's hand in it."""
    return reason.removeprefix("keyset_").removeprefix("manifest_") in FORGED or reason in FORGED


def silent_together(last_seen_at: datetime, others: Sequence[datetime]) -> datetime | None:
    """When the hosts fell silent with which this one did; None if it did alone.

    `others` is when each silent host, this one included, was last heard of, in order.
    """
    first = bisect_left(others, last_seen_at - TOGETHER)
    last = bisect_right(others, last_seen_at + TOGETHER)
    return others[first] if last - first >= HOSTS_TOGETHER else None


def is_graver(severity: str, than: str) -> bool:
    return SEVERITIES.index(severity) > SEVERITIES.index(than)


def worsens(kind: str, *, severity: str, opened_at: datetime, now: datetime) -> bool:
    """Whether an alert of this kind makes an incident of this severity worse, so that people are told once more.

    That a whole repository is lost is worse than one host's failure of an hour ago, of which people heard as just that.
    """
    if is_graver(KINDS[kind].severity, severity):
        return True
    return kind in TOLD_AT_LENGTH and now - opened_at >= FRESH


def speaks(kind: str, *, for_kind: str) -> bool:
    """Whether this kind says more about an incident than the one that speaks for it now."""
    if kind in TOLD_AT_LENGTH:
        return True
    return for_kind not in TOLD_AT_LENGTH and is_graver(KINDS[kind].severity, KINDS[for_kind].severity)


def snooze_until(choice: str, chosen: datetime | None, now: datetime) -> datetime | None:
    """When a snooze ends: after one of SNOOZES, or at the chosen time; None for what is too short or too long."""
    until = now + SNOOZES[choice] if choice in SNOOZES else chosen
    return until if until is not None and now + LEAST_SNOOZE <= until <= now + MOST_SNOOZE else None


_UNITS = {
    "": 1, "m": 1, "min": 1, "minute": 1, "minutes": 1, "h": 60, "hour": 60, "hours": 60, "d": 1440, "day": 1440,
    "days": 1440,
}  # fmt: skip


def span_of(text: str) -> timedelta | None:
    """15 min, 24 h or 7 days as people write it; minutes without a unit; None for anything else."""
    found = re.fullmatch(r"(\d{1,5})\s*([a-z]*)", text.strip().lower(), re.ASCII)
    if found is None or found[2] not in _UNITS:
        return None
    return timedelta(minutes=int(found[1]) * _UNITS[found[2]])


def span_words(span: timedelta) -> str:
    """The same the other way round, in the largest unit that fits."""
    minutes = int(span.total_seconds() // 60)
    if minutes and minutes % 1440 == 0:
        return f"{minutes // 1440} {'day' if minutes == 1440 else 'days'}"
    return f"{minutes // 60} h" if minutes and minutes % 60 == 0 else f"{minutes} min"
