"""How long each step of an update may take. Zero is the swap, and the host's own deadline comes before the server's."""

from dataclasses import dataclass
from datetime import datetime, timedelta

QUEUE = timedelta(hours=24)
BEFORE_SWAP = timedelta(minutes=75)
SOAK_GRACE = timedelta(seconds=30)
# The guard ends a trial ten minutes after it was armed; a minute more for the old agent to say so.
LONGEST_SOAK = timedelta(minutes=11)
ROLLBACK_WITHIN = timedelta(days=7)
LEAST_RETRY = timedelta(minutes=5)
MOST_RETRY = timedelta(minutes=30)
DRIFT_SECONDS = 5.0

ATTEMPT_SECONDS = 90
FLEET_SECONDS = 95
LEAST_ATTEMPT_SECONDS = 2
REVERT_SECONDS = 60
UNREACHABLE_SECONDS = 900
SOAK_SECONDS = 60
MOST_SOAK_SECONDS = 540
DRAIN_SECONDS = 1800
DOWNLOAD_SECONDS = 1800


@dataclass(frozen=True)
class Timing:
    """`attempt_seconds`: RM_UPDATE_TIMEOUT_SECONDS, `fleet_seconds`: RM_FLEET_HOST_TIMEOUT_SECONDS."""

    attempt_seconds: int = ATTEMPT_SECONDS
    fleet_seconds: int = FLEET_SECONDS

    @property
    def revert_seconds(self) -> int:
        """When the guard puts the old agent back; two thirds of the server's patience where that is short."""
        return max(1, min(REVERT_SECONDS, self.attempt_seconds * 2 // 3))

    @property
    def return_seconds(self) -> float:
        """By when the old agent is back and has said hello."""
        return self.revert_seconds + (self.attempt_seconds - self.revert_seconds) / 2

    @property
    def is_short(self) -> bool:
        return self.attempt_seconds < ATTEMPT_SECONDS

    def order_problem(self) -> str | None:
        """Why these timers would not follow each other as they must; None when they do."""
        if self.attempt_seconds < LEAST_ATTEMPT_SECONDS:
            return f"{self.attempt_seconds} s is too short; at least {LEAST_ATTEMPT_SECONDS} s are needed"
        if not self.fleet_seconds > self.attempt_seconds:
            return f"{self.fleet_seconds} s for a host in a fleet update must be more than {self.attempt_seconds} s"
        if not self.revert_seconds < self.return_seconds < self.attempt_seconds:
            return f"the host's {self.revert_seconds} s must come before the server's {self.attempt_seconds} s"
        return None

    def timers(self, soak_seconds: int | None = None) -> dict[str, int]:
        """What an attempt is ordered with; `attempt_seconds` stays here and is not sent."""
        return {
            "revert_seconds": self.revert_seconds,
            "unreachable_seconds": UNREACHABLE_SECONDS,
            "soak_seconds": SOAK_SECONDS if soak_seconds is None else soak_seconds,
            "drain_seconds": DRAIN_SECONDS,
            "download_seconds": DOWNLOAD_SECONDS,
            "attempt_seconds": self.attempt_seconds,
        }


def retry_after(age: timedelta) -> timedelta:
    """How long a deferred attempt waits; about as long as it is old, so that the waits double."""
    return min(MOST_RETRY, max(LEAST_RETRY, age))


def drifted(before: tuple[datetime, float], now: tuple[datetime, float]) -> bool:
    """Whether the wall clock and the monotonic one, as (instant, seconds), went apart in between."""
    return abs((now[0] - before[0]).total_seconds() - (now[1] - before[1])) > DRIFT_SECONDS


def between(instant: datetime, least: datetime, most: datetime) -> datetime:
    """The instant, moved between these two."""
    return min(max(instant, least), most)
