"""The rules of one attempt: its states and their timed exits."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.domain import update_attempt as rules
from rm.domain import update_evidence as evidence
from rm.domain import update_timing as timing
from rm.domain.update_attempt import Signs
from rm.domain.update_evidence import Greeting, Report
from rm.domain.update_words import standing
from tests.cast import NOW
from tests.domain.attempts import (
    AT_TARGET,
    MINUTE,
    NEW,
    OLD,
    SECOND,
    dispatched,
    fenced,
    greeted,
    queued,
    running,
    silent,
    soaking,
    told,
)

# ---- the way there ----


def test_an_update_goes_its_way_and_is_kept():
    attempt = fenced()
    assert (attempt.state, attempt.phase, attempt.deadline_at) == ("running", "swapping", NOW + 90 * SECOND)

    attempt = greeted(attempt, AT_TARGET, NOW + 10 * SECOND)
    assert (attempt.state, attempt.soak_until) == ("soaking", NOW + 70 * SECOND)
    attempt = told(attempt, "committed", NOW + 71 * SECOND, is_hash_right=True)

    assert (attempt.state, attempt.is_proven, attempt.is_provisional, attempt.is_late) == (
        "succeeded",
        True,
        False,
        False,
    )


@pytest.mark.parametrize("seconds", [89, 20])
def test_each_progress_before_the_fence_grants_ninety_seconds_more(seconds):
    attempt = running()

    later = NOW + seconds * SECOND
    attempt = attempt.after(evidence.progress(attempt, "downloading", 40.0, "4 of 10 MB", later))

    assert attempt.deadline_at == later + 90 * SECOND
    assert (attempt.percent, attempt.detail) == (40.0, "4 of 10 MB")


def test_progress_does_not_help_beyond_seventy_five_minutes():
    attempt = running()
    at = NOW
    for _ in range(60):
        at += 80 * SECOND
        if rules.overdue(attempt, Signs(is_connected=True), at):
            break
        attempt = attempt.after(evidence.progress(attempt, "downloading", None, "", at))

    attempt = attempt.after(rules.overdue(attempt, Signs(is_connected=True), NOW + 75 * MINUTE))

    assert (attempt.state, attempt.reason, attempt.failure_class) == ("failed", "too_long", "infrastructure")


def test_a_phase_that_this_server_does_not_know_yet_is_a_sign_of_life():
    attempt = dispatched()

    attempt = attempt.after(evidence.progress(attempt, "unpacking", None, "", NOW + 60 * SECOND))

    assert (attempt.state, attempt.deadline_at) == ("running", NOW + 150 * SECOND)


def test_progress_after_the_fence_grants_nothing():
    attempt = fenced()

    step = evidence.progress(attempt, "restarting", None, "", NOW + 50 * SECOND)

    assert attempt.after(step).deadline_at == NOW + 90 * SECOND


def test_progress_from_before_the_swap_that_comes_after_the_fence_changes_nothing():
    assert evidence.progress(fenced(), "selftest", None, "", NOW) is None


# ---- the fence ----


@pytest.mark.parametrize("state", ["queued", "soaking", "deferred", *rules.ENDED])
def test_only_an_attempt_that_is_under_way_may_swap(state):
    assert rules.fence(queued(state=state), "", NOW) == (False, None)


def test_a_closed_fleet_update_refuses_the_swap_and_what_follows_is_no_failure():
    attempt = running("selftest")

    may_swap, step = rules.fence(attempt, "the fleet update is paused", NOW)
    attempt = attempt.after(step)

    assert not may_swap
    assert "the fleet update is paused" in step.text
    assert silent(attempt).state == "cancelled"


def test_a_cancelled_attempt_can_no_longer_swap():
    attempt = running()
    attempt = attempt.after(rules.cancel(attempt, "bob", NOW))

    assert rules.fence(attempt, "", NOW) == (False, None)
    assert silent(attempt).state == "cancelled"


def test_a_fence_after_its_time_is_refused():
    may_swap, _ = rules.fence(running(), "", NOW + 75 * MINUTE)

    assert not may_swap


def test_the_same_question_twice_is_granted_twice():
    attempt = fenced()

    may_swap, step = rules.fence(attempt, "", NOW + SECOND)

    assert may_swap
    assert attempt.after(step).fenced_at == NOW + SECOND


def test_past_the_fence_nothing_can_be_cancelled():
    assert rules.cancel(fenced(), "bob", NOW) is None
    assert rules.cancel(soaking(), "bob", NOW) is None


# ---- the soak ----


def test_a_soak_that_the_server_saw_is_enough():
    attempt = silent(soaking(), is_connected=True, has_soaked=True)

    assert (attempt.state, attempt.reason, attempt.is_proven) == ("succeeded", "soak_seen", True)


def test_a_soak_in_which_the_host_vanished_is_a_provisional_failure():
    attempt = silent(soaking())

    assert (attempt.state, attempt.reason, attempt.is_provisional) == ("failed", "no_result", True)


def test_a_flapping_host_cannot_soak_for_ever():
    attempt, at = soaking(), NOW
    for _ in range(100):
        at += 50 * SECOND
        if rules.overdue(attempt, Signs(), at):
            break
        attempt = greeted(attempt, AT_TARGET, at)

    assert at <= NOW + timing.LONGEST_SOAK + 2 * MINUTE
    assert silent(attempt).state == "failed"


def test_an_order_without_soak_waits_for_the_report_only():
    attempt = soaking(soak=timedelta(0))

    assert attempt.deadline_at == NOW + timing.SOAK_GRACE


# ---- whatever happens ----


PHASES = st.sampled_from([*rules.BEFORE_SWAP, *rules.PHASES, "committed", "something else"])
GREETINGS = st.builds(
    Greeting,
    version=st.sampled_from(["0.1.0", "0.2.0", "0.3.0"]),
    seq=st.sampled_from([0, 1, 2, 3]),
    sha256=st.sampled_from([None, NEW, OLD, "c" * 64]),
    is_pinned=st.booleans(),
    journal_phase=st.sampled_from(["", "downloading", "selftest", "swapping", "trial"]),
)
REPORTS = st.builds(
    Report,
    outcome=st.sampled_from(
        ["committed", "rolled_back", "refused", "deferred", "failed", "revert_failed", "cancelled"]
    ),
    phase=PHASES,
    reason=st.sampled_from(["", "boots", "busy", "pinned", "what nobody knows"]),
    is_hash_right=st.booleans(),
)
SIGNS = st.builds(
    Signs, is_connected=st.booleans(), has_soaked=st.booleans(), has_returned=st.booleans(), is_revoked=st.booleans()
)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("dispatch")),
        st.tuples(st.just("progress"), PHASES),
        st.tuples(st.just("fence"), st.sampled_from(["", "the fleet update is paused"])),
        st.tuples(st.just("greet"), GREETINGS, st.booleans()),
        st.tuples(st.just("result"), REPORTS, st.booleans()),
        st.tuples(st.just("cancel")),
        st.tuples(st.just("sweep"), SIGNS),
        st.tuples(st.just("rearm")),
        st.tuples(st.just("retry")),
        st.tuples(st.just("wait"), st.integers(1, 100_000)),
    ),
    max_size=40,
)


def happen(attempt, happening, now):
    """(the step, whether a swap was granted) of one happening."""
    kind, *more = happening
    if kind == "fence":
        may_swap, step = rules.fence(attempt, more[0], now)
        return step, may_swap
    step = {
        "dispatch": lambda: rules.dispatch(attempt, now),
        "progress": lambda: evidence.progress(attempt, more[0], None, "", now),
        "greet": lambda: evidence.greet(attempt, more[0], now, may_reopen=more[1]),
        "result": lambda: evidence.result(attempt, more[0], now, may_reopen=more[1]),
        "cancel": lambda: rules.cancel(attempt, "bob", now),
        "sweep": lambda: rules.overdue(attempt, more[0], now),
        "rearm": lambda: rules.rearm(attempt, now),
        "retry": lambda: rules.retry(attempt, now),
        "wait": lambda: None,
    }[kind]()
    return step, False


@settings(max_examples=400, deadline=None, derandomize=True)
@given(HAPPENINGS, st.booleans())
def test_whatever_happens_the_rules_hold(happenings, is_in_fleet):
    attempt, now = queued(is_in_fleet=is_in_fleet), NOW
    counted = {"queued": 1}
    for happening in happenings:
        if happening[0] == "wait":
            now += happening[1] * SECOND
        before = attempt
        step, may_swap = happen(attempt, happening, now)
        if step is not None:
            attempt = attempt.after(step)
            counted[before.state] -= 1
            counted[attempt.state] = counted.get(attempt.state, 0) + 1

        # the counters are those of the states that the steps lead to
        assert {state for state, count in counted.items() if count} == {attempt.state}
        # every open state has a timed exit within a day, and no other has one
        if rules.is_open(attempt.state):
            assert attempt.deadline_at is not None and attempt.deadline_at <= now + timing.QUEUE + MINUTE
            assert attempt.ended_at is None and not attempt.is_provisional
        else:
            assert attempt.deadline_at is None and attempt.ended_at is not None and attempt.message
        # only the fence sets the fence, and only before a swap
        if attempt.fenced_at != before.fenced_at and attempt.fenced_at is not None:
            assert may_swap
        if may_swap:
            assert before.state in ("dispatched", "running") and before.cancel_requested_at is None
        # an end stays, but for a guess that evidence corrects
        if before.state in rules.ENDED and attempt.state != before.state:
            assert rules.is_correctable(before) and happening[0] in ("greet", "result")
            assert attempt.is_late
        # a guess is a failure, and what happened is told
        assert not attempt.is_provisional or attempt.state == "failed"
        said = standing(attempt)
        assert said.now and said.since and (said.next or not rules.is_open(attempt.state))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(HAPPENINGS, SIGNS, st.booleans())
def test_from_everywhere_silence_leads_to_an_end_within_two_days(happenings, signs, is_in_fleet):
    attempt, now = queued(is_in_fleet=is_in_fleet), NOW
    for happening in happenings:
        if happening[0] == "wait":
            now += happening[1] * SECOND
        step, _ = happen(attempt, happening, now)
        attempt = attempt if step is None else attempt.after(step)
    started = now
    for _ in range(10):
        if not rules.is_open(attempt.state):
            break
        now = max(now, attempt.deadline_at)
        step = rules.overdue(attempt, signs, now)
        assert step is not None, attempt
        attempt = attempt.after(step)

    assert not rules.is_open(attempt.state)
    assert now <= started + 2 * timing.QUEUE
