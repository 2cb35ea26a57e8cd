"""Attempts over clocks that jump and servers that restart."""

import pytest

from rm.domain.update_timing import Timing
from rm.services import presence, updates
from rm.store import updates as stored
from rm.store.database import db
from rm.store.models import UpdateAttempt
from tests.cast import BOB, NOW
from tests.updating import DAY, MINUTE, SECOND, again, at_target, ends, says_hello, takes_orders


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_server_clock_that_jumps_fails_nobody(bus, online, release, fenced, jump):
    at = NOW + jump

    assert updates.rearm(bus, now=at) == 1
    assert updates.sweep(bus, now=at) == 0
    assert again(fenced).deadline_at == at + 90 * SECOND
    says_hello(bus, online, now=at + 5 * SECOND, **at_target(release))
    ends(bus, online, fenced, "committed", now=at + 70 * SECOND)

    assert (again(fenced).state, again(fenced).is_late) == ("succeeded", False)


def test_after_a_restart_the_host_has_its_ninety_seconds_again(bus, online, release, fenced):
    presence.nobody_is_connected()
    updates.rearm(bus, now=NOW + 10 * MINUTE)

    assert updates.sweep(bus, now=NOW + 10 * MINUTE + 89 * SECOND) == 0
    assert updates.sweep(bus, now=NOW + 10 * MINUTE + 90 * SECOND) == 1


def test_attempts_carry_the_patience_they_were_ordered_with(bus, online, release):
    updates.use_timing(Timing(30, 35))
    attempt = updates.order(bus, host_id=online.id, actor=BOB, now=NOW, soak_seconds=0)
    [order] = takes_orders(bus, online)
    updates.use_timing(Timing())

    assert (order.timers["revert_seconds"], order.timers["soak_seconds"]) == (20, 0)
    assert "attempt_seconds" not in order.timers
    assert again(attempt).deadline_at == NOW + 30 * SECOND


def test_looking_for_what_is_overdue_uses_the_index_of_open_attempts(bus, fenced):
    query = UpdateAttempt.select().where(stored.IS_OPEN, UpdateAttempt.deadline_at <= NOW)
    sql, values = query.sql()

    plan = " ".join(row[3] for row in db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values))

    assert "update_attempts_open" in plan


def test_when_nothing_is_overdue_a_sweep_is_one_query(bus, fenced, monkeypatch):
    asked = []
    real = db.execute_sql
    monkeypatch.setattr(db, "execute_sql", lambda sql, *more, **named: asked.append(sql) or real(sql, *more, **named))

    updates.sweep(bus, now=NOW)

    assert len(asked) == 1
