"""A host that is connected, a release, and an attempt at each step of its way."""

import pytest

from tests.cast import NOW
from tests.updating import SECOND, at_target, attempt, ends, online, release, reports, says_hello, takes_orders

__all__ = ["attempt", "online", "release"]


@pytest.fixture
def sent(bus, online, attempt):
    takes_orders(bus, online)
    return attempt


@pytest.fixture
def fenced(bus, online, sent):
    reports(bus, online, sent, "selftest")
    reports(bus, online, sent, "swapping")
    return sent


@pytest.fixture
def committed(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 5 * SECOND, **at_target(release))
    ends(bus, online, fenced, "committed", now=NOW + 70 * SECOND)
    return fenced
