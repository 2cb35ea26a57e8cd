"""The deadlines of an attempt: in which order they come, and what a clock that jumps does to them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.domain import update_attempt as rules
from rm.domain import update_timing as timing
from rm.domain.update_attempt import Signs
from rm.domain.update_timing import Timing
from tests.cast import NOW
from tests.domain.attempts import SECOND, dispatched, fenced, queued, running, soaking

# ---- the clock ----


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(0)])
@pytest.mark.parametrize("attempt", [queued(), dispatched(), running(), fenced(), soaking()], ids=lambda one: one.state)
def test_after_a_jump_of_the_clock_each_deadline_is_ahead_and_not_far(attempt, jump):
    at = NOW + jump

    attempt = attempt.after(rules.rearm(attempt, at))

    assert at + 90 * SECOND <= attempt.deadline_at <= at + timing.QUEUE
    if attempt.state not in ("queued", "deferred"):
        assert attempt.deadline_at <= at + 90 * SECOND
    assert rules.overdue(attempt, Signs(), at) is None


def test_five_seconds_of_drift_are_nothing_six_are_a_jump():
    assert not timing.drifted((NOW, 10.0), (NOW + 6 * SECOND, 11.0))
    assert timing.drifted((NOW, 10.0), (NOW + 7 * SECOND, 11.0))
    assert timing.drifted((NOW, 10.0), (NOW - 5 * SECOND, 11.0))


# ---- the timers ----


def test_the_hosts_deadline_comes_before_the_servers_and_that_before_the_fleets():
    default = Timing()

    assert (default.revert_seconds, default.return_seconds, default.attempt_seconds, default.fleet_seconds) == (
        60, 75, 90, 95,
    )  # fmt: skip
    assert default.order_problem() is None


@given(st.integers(2, 3600), st.integers(1, 600))
def test_the_order_of_the_timers_holds_for_every_setting(attempt_seconds, more):
    scaled = Timing(attempt_seconds, attempt_seconds + more)

    assert scaled.order_problem() is None
    assert scaled.revert_seconds < scaled.return_seconds < scaled.attempt_seconds < scaled.fleet_seconds


@pytest.mark.parametrize(("attempt_seconds", "fleet_seconds"), [(1, 95), (90, 90), (90, 60)])
def test_timers_that_overtake_each_other_are_named(attempt_seconds, fleet_seconds):
    assert Timing(attempt_seconds, fleet_seconds).order_problem()


def test_a_short_timeout_leaves_the_trial_two_thirds():
    assert (Timing(30, 35).revert_seconds, Timing(2, 3).revert_seconds, Timing(600, 700).revert_seconds) == (20, 1, 60)
