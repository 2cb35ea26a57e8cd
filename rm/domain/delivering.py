"""Who is told what of an incident, and when a delivery that failed is tried again."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.notices import FAILURES

SETTLING = timedelta(seconds=10)
"""A failure is told this much later: what comes at once is counted, and what ends at once was nothing."""
WAITS = (
    timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=30), timedelta(hours=1),
)  # fmt: skip
CHANNEL_WAITS = (
    timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=10),
)  # fmt: skip
LIFE = timedelta(hours=24)
FAILURES_UNTIL_DEAD = 5


@dataclass(frozen=True)
class Wishes:
    """What a channel wants to hear; no kinds or no tags: of all."""

    min_severity: str = "warning"
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tells_acknowledged: bool = True
    tells_resolved: bool = True

    @property
    def is_choosy(self) -> bool:
        """Whether an incident that it does not want may grow into one that it does."""
        return bool(self.kinds or self.tags)


def wants(wishes: Wishes, *, severity: str, kinds: Collection[str], tags: Collection[str]) -> bool:
    """Whether a channel is told that an incident with these kinds, on hosts with these tags, was raised or worsened."""
    if wishes.min_severity == "critical" and severity != "critical":
        return False
    if wishes.kinds and not set(wishes.kinds) & set(kinds):
        return False
    return not wishes.tags or bool(set(wishes.tags) & set(tags))


def follows_up(wishes: Wishes, *, event: str, is_told: bool) -> bool:
    """Whether a channel is told what became of an incident: only if it was told of the failure, and wants to know."""
    if event in FAILURES:
        return False
    return is_told and (wishes.tells_acknowledged if event == "acknowledged" else wishes.tells_resolved)


def next_try(*, tries: int, created_at: datetime, now: datetime) -> datetime | None:
    """When to try again after `tries` failures, or None to give up."""
    at = now + WAITS[min(tries, len(WAITS)) - 1]
    return at if at <= created_at + LIFE else None


def channel_pause(failures: int) -> timedelta:
    """How long a channel rests after so many failures in a row."""
    return CHANNEL_WAITS[min(failures, len(CHANNEL_WAITS)) - 1]


def is_dead(failures: int, *, gave_up: bool) -> bool:
    """Whether a channel fails so that somebody must know."""
    return gave_up or failures >= FAILURES_UNTIL_DEAD
