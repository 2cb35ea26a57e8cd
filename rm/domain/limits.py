"""How often something may be tried: a window that slides, and a lock that ends by itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Limit:
    """At most `count` tries in any `window`."""

    count: int
    window: timedelta

    def recent(self, tries: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
        """The tries that still count."""
        return tuple(at for at in tries if now - at < self.window)

    def wait(self, tries: tuple[datetime, ...], now: datetime) -> timedelta:
        """How long until the next try is allowed; zero when it is allowed now."""
        recent = self.recent(tries, now)
        if len(recent) < self.count:
            return timedelta(0)
        return recent[-self.count] + self.window - now


LOGIN_PER_ACCOUNT = Limit(5, timedelta(minutes=15))
LOGIN_PER_ADDRESS = Limit(20, timedelta(minutes=15))
ENROL_PER_ADDRESS = Limit(20, timedelta(minutes=1))
ANNOUNCE_PER_ADDRESS = Limit(10, timedelta(minutes=1))
CLAIM_PER_ADDRESS = Limit(20, timedelta(minutes=1))
DOWNLOAD_PER_ADDRESS = Limit(20, timedelta(minutes=1))
SETUP_PER_ADDRESS = Limit(20, timedelta(minutes=15))
