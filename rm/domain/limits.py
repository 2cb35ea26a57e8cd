"""How often something may be tried: a window that slides, and a lock that ends by itself."""

import ipaddress
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
SCRAPE_PER_ADDRESS = Limit(60, timedelta(minutes=1))
SETUP_PER_ADDRESS = Limit(20, timedelta(minutes=15))
OIDC_PER_ADDRESS = Limit(60, timedelta(minutes=15))
LINK_PER_ADDRESS = Limit(20, timedelta(minutes=15))
CODE_PER_ADDRESS = Limit(20, timedelta(minutes=15))
# Three codes of a million are good at any moment: ten guesses an hour need years.
CODE_PER_ACCOUNT = Limit(10, timedelta(hours=1))
PASSWORD_PER_ACCOUNT = Limit(5, timedelta(minutes=15))
CALLS_PER_USER = Limit(20, timedelta(minutes=1))
"""Tests and the like, with which a person makes this server call somewhere."""
REFUSALS_LISTED = Limit(100, timedelta(hours=1))
"""Refused tries that get an audit entry of their own, of each kind."""


def who_tries(name: str) -> str:
    """What tries of an address are counted under: an IPv6 customer has a whole /64 of addresses to try from."""
    if ":" not in name:
        return name
    try:
        address = ipaddress.IPv6Address(name.partition("%")[0])
    except ValueError:
        return name
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


BAD_TOKENS_PER_ADDRESS = Limit(20, timedelta(minutes=5))
