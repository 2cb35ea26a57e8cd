"""A host that is connected, a release, and an attempt at each step of its way."""

import pytest

from rm.services import updates
from tests.cast import BOB, NOW
from tests.updating import SECOND, at_target, ends, give_release, reports, says_hello, takes_orders


@pytest.fixture
def release(app):
    return give_release()


@pytest.fixture
def online(bus, web1):
    says_hello(bus, web1)
    return web1


@pytest.fixture
def attempt(bus, online, release):
    return updates.order(bus, host_id=online.id, actor=BOB, now=NOW)


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
