"""What a hello, a result and silence make of an attempt, and what corrects a guess."""

import pytest

from rm.domain import update_attempt as rules
from rm.domain import update_evidence as evidence
from rm.domain import update_timing as timing
from rm.domain.update_attempt import Signs
from rm.domain.update_evidence import Greeting, Report
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

AT_OLD = Greeting(version="0.1.0", seq=1, sha256=OLD)


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
