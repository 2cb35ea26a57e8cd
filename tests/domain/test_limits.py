"""Limits on tries."""

from datetime import timedelta

import pytest

from rm.domain.limits import Limit
from rm.errors import TooMany
from rm.services.tries import Tries
from tests.cast import NOW

LIMIT = Limit(3, timedelta(minutes=1))


def test_tries_under_the_limit_pass():
    tries = Tries()

    assert [tries.count("login", "alice", LIMIT, NOW) for _ in range(3)] == [2, 1, 0]


def test_the_try_over_the_limit_is_told_when_to_come_back():
    tries = Tries()
    for _ in range(3):
        tries.take("login", "alice", LIMIT, NOW)

    with pytest.raises(TooMany) as caught:
        tries.check("login", "alice", LIMIT, NOW + timedelta(seconds=20))

    assert caught.value.retry_after_seconds == 41


def test_the_limit_ends_by_itself():
    tries = Tries()
    for _ in range(3):
        tries.take("login", "alice", LIMIT, NOW)

    tries.check("login", "alice", LIMIT, NOW + timedelta(seconds=61))


def test_callers_do_not_share_a_limit():
    tries = Tries()
    for _ in range(3):
        tries.take("login", "alice", LIMIT, NOW)

    tries.take("login", "bob", LIMIT, NOW)
