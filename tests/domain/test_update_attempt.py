"""The rules of one attempt: its states, their timed exits, and what evidence makes of a guess."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.domain import update_attempt as rules
from rm.domain import update_evidence as evidence
from rm.domain import update_timing as timing
from rm.domain.update_attempt import Attempt, Signs
from rm.domain.update_evidence import Greeting, Report
from rm.domain.update_timing import Timing
from rm.domain.update_words import standing
from tests.cast import NOW

NEW, OLD = "a" * 64, "b" * 64
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
AT_TARGET = Greeting(version="0.2.0", seq=2, sha256=NEW)
AT_OLD = Greeting(version="0.1.0", seq=1, sha256=OLD)


def queued(**fields):
    start = {
        "host_name": "web1", "from_version": "0.1.0", "from_seq": 1, "from_sha256": OLD, "to_version": "0.2.0",
        "to_seq": 2, "artifact_sha256": NEW, "state": "queued", "created_at": NOW,
        "not_after": NOW + timing.QUEUE, "deadline_at": NOW + timing.QUEUE,
    }  # fmt: skip
    return Attempt(**(start | fields))


def dispatched(**fields):
    attempt = queued(**fields)
    return attempt.after(rules.dispatch(attempt, NOW))


def running(phase="downloading", **fields):
    attempt = dispatched(**fields)
    return attempt.after(evidence.progress(attempt, phase, None, "", NOW))


def fenced(**fields):
    attempt = running("selftest", **fields)
    may_swap, step = rules.fence(attempt, "", NOW)
    assert may_swap
    return attempt.after(step)


def soaking(**fields):
    attempt = fenced(**fields)
    return attempt.after(evidence.greet(attempt, AT_TARGET, NOW, may_reopen=True))


def silent(attempt, **signs):
    """The attempt once its deadline has passed without a word."""
    return attempt.after(rules.overdue(attempt, Signs(**signs), attempt.deadline_at))


def greeted(attempt, greeting, now=NOW, may_reopen=True):
    step = evidence.greet(attempt, greeting, now, may_reopen=may_reopen)
    return attempt if step is None else attempt.after(step)


def told(attempt, outcome, now=NOW, may_reopen=True, **fields):
    step = evidence.result(attempt, Report(outcome, **fields), now, may_reopen=may_reopen)
    return attempt if step is None else attempt.after(step)


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


# ---- hello ----


def test_a_hello_without_a_hash_is_a_success_that_is_not_proven():
    attempt = greeted(fenced(), Greeting(version="0.2.0", seq=2))

    assert (attempt.state, attempt.reason, attempt.is_proven) == ("succeeded", "not_proven", False)


def test_a_version_alone_is_enough_for_an_outside_program():
    assert greeted(fenced(from_seq=0), Greeting(version="0.2.0")).state == "succeeded"


@pytest.mark.parametrize("attempt", [dispatched(), running(), fenced(), soaking()], ids=lambda one: one.state)
def test_a_wrong_hash_fails_for_good_whatever_the_state(attempt):
    attempt = greeted(attempt, Greeting(version="0.2.0", seq=2, sha256="c" * 64))

    assert (attempt.state, attempt.reason, attempt.failure_class) == ("failed", "wrong_hash", "integrity")
    assert not attempt.is_provisional


def test_a_hello_at_the_old_version_after_the_swap_is_judged_at_the_deadline():
    attempt = greeted(fenced(), AT_OLD, NOW + 70 * SECOND)

    assert (attempt.state, attempt.deadline_at) == ("running", NOW + 90 * SECOND)
    attempt = silent(attempt, is_connected=True, has_returned=True)
    assert (attempt.state, attempt.reason, attempt.is_provisional) == ("failed", "came_back_old", True)


def test_a_host_that_never_heard_the_answer_may_ask_again():
    attempt = greeted(fenced(), Greeting("0.1.0", 1, OLD, journal_phase="selftest"), NOW + 30 * SECOND)

    assert (attempt.state, attempt.fenced_at, attempt.deadline_at) == ("running", None, NOW + 120 * SECOND)


def test_a_reconnect_before_the_swap_is_a_sign_of_life():
    attempt = greeted(running(), AT_OLD, NOW + 60 * SECOND)

    assert (attempt.state, attempt.deadline_at) == ("running", NOW + 150 * SECOND)


def test_a_pinned_host_ends_an_attempt_that_waits():
    attempt = greeted(queued(), Greeting("0.1.0", 1, OLD, is_pinned=True))

    assert (attempt.state, attempt.reason) == ("cancelled", "pinned")


def test_a_newer_agent_makes_the_attempt_needless():
    assert greeted(queued(), Greeting("0.3.0", 3, "c" * 64)).reason == "ahead"


def test_a_rollback_reaches_its_older_target():
    back = fenced(
        from_version="0.2.0", from_seq=2, from_sha256=NEW, to_version="0.1.0", to_seq=1, artifact_sha256=OLD,
        is_rollback=True,
    )  # fmt: skip

    assert greeted(back, AT_OLD).state == "soaking"
    assert greeted(back, AT_TARGET).state == "running"


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


# ---- results ----


@pytest.mark.parametrize(
    ("outcome", "state", "kind"),
    [
        ("rolled_back", "rolled_back", "release"),
        ("refused", "refused", "host"),
        ("failed", "failed", "release"),
        ("revert_failed", "failed", "release"),
        ("cancelled", "cancelled", ""),
        ("deferred", "deferred", ""),
    ],
)
def test_a_result_ends_an_attempt_as_the_host_says(outcome, state, kind):
    attempt = told(running("trial"), outcome, phase="trial")

    assert (attempt.state, attempt.failure_class, attempt.is_provisional) == (state, kind, False)
    assert attempt.is_revert_failed == (outcome == "revert_failed")
    assert attempt.message if state != "queued" else True


@pytest.mark.parametrize("state", ["failed", "rolled_back", "refused", "cancelled", "lost"])
@pytest.mark.parametrize("outcome", ["committed", "rolled_back", "refused", "deferred", "failed", "revert_failed"])
def test_a_sure_end_stays(state, outcome):
    attempt = queued(state=state, phase="cancelled", deadline_at=None, ended_at=NOW)

    assert evidence.result(attempt, Report(outcome), NOW, may_reopen=True) is None


def test_a_deferred_attempt_is_tried_again_with_growing_waits():
    first = told(running(), "deferred", NOW, reason="busy")
    late = told(running(), "deferred", NOW + 20 * MINUTE, reason="busy")

    assert (first.retry_at, late.retry_at) == (NOW + 5 * MINUTE, NOW + 40 * MINUTE)
    again = silent(first)
    assert (again.state, again.not_after) == ("queued", NOW + timing.QUEUE)


def test_a_deferred_attempt_of_a_fleet_update_waits_for_its_worker():
    attempt = told(running(is_in_fleet=True), "deferred", NOW)

    assert attempt.deadline_at == NOW + timing.QUEUE
    assert rules.retry(attempt, NOW) is not None


def test_a_repeated_deferral_does_not_put_it_off_once_more():
    attempt = told(running(), "deferred", NOW)

    assert evidence.result(attempt, Report("deferred"), NOW + MINUTE, may_reopen=True) is None


# ---- silence, and what corrects it ----


@pytest.mark.parametrize(
    ("attempt", "signs", "reason", "kind"),
    [
        (dispatched(), {}, "no_sign", "host"),
        (running(), {"is_connected": True}, "silent", "host"),
        (running(), {}, "connection_lost", "host"),
        (fenced(), {}, "no_hello", "release"),
    ],
)
def test_silence_is_a_provisional_failure(attempt, signs, reason, kind):
    assert rules.overdue(attempt, Signs(**signs), NOW + 89 * SECOND) is None

    attempt = attempt.after(rules.overdue(attempt, Signs(**signs), NOW + 90 * SECOND))

    assert (attempt.state, attempt.reason, attempt.failure_class) == ("failed", reason, kind)
    assert attempt.is_provisional


def test_an_order_nobody_took_within_a_day_is_given_up():
    assert (silent(queued()).state, silent(queued()).reason) == ("cancelled", "expired")


def test_nobody_learns_what_became_of_a_revoked_host():
    attempt = silent(fenced(), is_revoked=True)

    assert (attempt.state, attempt.is_provisional) == ("lost", False)


def test_a_late_hello_at_the_target_corrects_the_verdict():
    attempt = greeted(silent(fenced()), AT_TARGET, NOW + 200 * SECOND)

    assert (attempt.state, attempt.is_late, attempt.is_provisional, attempt.is_proven) == (
        "succeeded",
        True,
        False,
        True,
    )
    assert attempt.failure_class == ""


def test_a_late_hello_with_the_wrong_hash_makes_the_failure_sure():
    attempt = greeted(silent(fenced()), Greeting("0.2.0", 2, "c" * 64), NOW + 200 * SECOND)

    assert (attempt.state, attempt.failure_class, attempt.is_provisional) == ("failed", "integrity", False)


def test_a_late_report_of_a_rollback_corrects_the_verdict():
    attempt = told(silent(fenced()), "rolled_back", NOW + 10 * MINUTE, reason="boots", phase="trial")

    assert (attempt.state, attempt.is_late, attempt.failure_class) == ("rolled_back", True, "release")


def test_a_host_that_slept_for_a_day_in_the_download_is_tried_again():
    attempt = silent(running(created_at=NOW))
    attempt = greeted(attempt, Greeting("0.1.0", 1, OLD, journal_phase="downloading"), NOW + 20 * 60 * MINUTE)

    assert (attempt.state, attempt.is_late, attempt.ended_at) == ("deferred", True, None)


def test_a_late_host_that_has_a_newer_attempt_is_not_tried_again():
    attempt = told(silent(running()), "deferred", NOW + MINUTE, may_reopen=False)

    assert (attempt.state, attempt.reason) == ("cancelled", "superseded")


def test_a_late_hello_at_the_old_version_without_a_journal_proves_nothing():
    assert evidence.greet(silent(fenced()), AT_OLD, NOW + 5 * MINUTE, may_reopen=True) is None


def test_a_rollback_that_follows_a_success_that_was_only_seen_is_believed():
    seen = silent(soaking(), is_connected=True, has_soaked=True)

    attempt = told(seen, "rolled_back", NOW + 20 * MINUTE)

    assert (attempt.state, attempt.is_late) == ("rolled_back", True)


@pytest.mark.parametrize("outcome", ["deferred", "refused", "cancelled", "failed"])
def test_a_report_from_before_the_swap_does_not_undo_a_hello_at_the_target(outcome):
    seen = greeted(fenced(), Greeting(version="0.2.0", seq=2))

    assert evidence.result(seen, Report(outcome), NOW, may_reopen=True) is None


def test_the_hosts_own_word_confirms_what_was_seen():
    seen = silent(soaking(), is_connected=True, has_soaked=True)

    attempt = told(seen, "committed", NOW + 20 * MINUTE)

    assert (attempt.state, attempt.reason, attempt.is_late, attempt.ended_at) == (
        "succeeded", "committed", False, seen.ended_at,
    )  # fmt: skip
    assert not rules.is_correctable(attempt)


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
