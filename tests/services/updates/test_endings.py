"""How attempts end: cancelled, failed, corrected by later evidence, unknown to this database."""

import pytest

from rm.errors import Conflict, NotFound
from rm.services import hosts, jobs, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import CommandUpdateCancel
from rm.store import figures
from rm.store.models import Job, OrphanResult, UpdateAttempt, UpdateEvent
from tests.cast import ALICE, BOB, NOW
from tests.services.updates.looking import actions, alert, texts
from tests.updating import DAY, MINUTE, SECOND, again, at_target, ends, hangs_up, reports, says_hello, takes_orders


def test_what_waits_is_cancelled_at_once(bus, web1, release):
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    jobs.cancel(bus, job_id=attempt.job_id, actor=BOB, now=NOW)

    assert (again(attempt).state, Job.get_by_id(attempt.job_id).outcome) == ("cancelled", "cancelled")
    assert "Cancelled by bob" in again(attempt).message


def test_what_the_host_has_is_cancelled_when_the_host_says_so(bus, online, sent):
    jobs.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)
    assert again(sent).state == "dispatched"
    assert takes_orders(bus, online) == [CommandUpdateCancel(attempt_id=sent.job_id)]

    ends(bus, online, sent, "cancelled")

    assert again(sent).state == "cancelled"
    assert takes_orders(bus, online) == []


def test_without_an_answer_it_is_cancelled_after_the_timeout_and_told_again(bus, online, sent):
    updates.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)
    updates.cancel(bus, job_id=sent.job_id, actor=ALICE, now=NOW + SECOND)

    updates.sweep(bus, now=NOW + 90 * SECOND)

    assert (again(sent).state, alert()) == ("cancelled", None)
    assert takes_orders(bus, online, now=NOW + 2 * MINUTE) == [CommandUpdateCancel(attempt_id=sent.job_id)]


def test_past_the_fence_and_after_the_end_cancelling_is_refused(bus, online, fenced):
    with pytest.raises(Conflict) as begun:
        updates.cancel(bus, job_id=fenced.job_id, actor=BOB, now=NOW)
    ends(bus, online, fenced, "rolled_back")
    with pytest.raises(Conflict) as over:
        updates.cancel(bus, job_id=fenced.job_id, actor=BOB, now=NOW)

    assert (begun.value.code, over.value.code) == ("past_the_fence", "job_over")


def test_while_it_is_being_cancelled_no_other_is_ordered(bus, online, sent):
    updates.cancel(bus, job_id=sent.job_id, actor=BOB, now=NOW)

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW)

    assert refused.value.code == "being_cancelled"


@pytest.mark.parametrize(
    ("outcome", "fields", "state", "kind"),
    [
        ("rolled_back", {"phase": "trial", "reason": "boots"}, "rolled_back", "release"),
        ("failed", {"phase": "downloading", "reason": "unreachable"}, "failed", "infrastructure"),
        ("failed", {"phase": "verifying", "reason": "unknown_key"}, "failed", "integrity"),
        ("failed", {"phase": "selftest", "reason": "selftest_crashed"}, "failed", "release"),
        ("refused", {"phase": "preflight", "reason": "no_space"}, "refused", "host"),
        ("revert_failed", {"phase": "trial", "reason": "no_old"}, "failed", "release"),
        ("rolled_back", {"phase": "trial", "reason": "unreachable"}, "rolled_back", "infrastructure"),
    ],
)
def test_a_failure_raises_an_alert_about_its_host_with_its_class(bus, online, sent, outcome, fields, state, kind):
    ends(bus, online, sent, outcome, detail="Free 3 GB.", **fields)

    done, raised = again(sent), alert()
    assert (done.state, done.failure_class, done.is_revert_failed) == (state, kind, outcome == "revert_failed")
    assert (raised.condition, raised.host_id, raised.state) == (f"host:{online.id}", online.id, "raised")
    assert raised.message == done.message
    assert "Free 3 GB." in done.message


def test_a_host_that_its_owner_pinned_raises_no_alert(bus, online, sent):
    ends(bus, online, sent, "refused", phase="accepted", reason="pinned")

    assert (again(sent).state, alert()) == ("refused", None)


@pytest.mark.parametrize(("seconds", "state"), [(89, "dispatched"), (91, "failed"), (200, "failed")])
def test_ninety_seconds_without_a_sign_are_a_provisional_failure(bus, online, sent, seconds, state):
    updates.sweep(bus, now=NOW + seconds * SECOND)

    assert (again(sent).state, again(sent).is_provisional) == (state, state == "failed")
    assert (alert() is not None) == (state == "failed")


def test_a_hello_after_89_seconds_is_in_time_and_after_91_late(bus, online, db1, release):
    says_hello(bus, db1)
    ended = {}
    for host, seconds in ((online, 89), (db1, 91)):
        attempt = updates.order(bus, host_id=host.id, actor=BOB, now=NOW)
        takes_orders(bus, host)
        reports(bus, host, attempt, "swapping")
        updates.sweep(bus, now=NOW + seconds * SECOND)
        says_hello(bus, host, now=NOW + seconds * SECOND, **at_target(release))
        ends(bus, host, attempt, "committed", now=NOW + (seconds + 60) * SECOND)
        ended[seconds] = again(attempt)

    assert (ended[89].state, ended[89].is_late) == ("succeeded", False)
    assert (ended[91].state, ended[91].is_late) == ("succeeded", True)


def verdicts_counted():
    """What /metrics counts of verdicts from silence."""
    return {first: value for first, _, _, value in figures.totals().get("update_verdicts", [])}


def test_a_late_hello_resolves_the_alert_with_a_note_and_corrects_the_counters(bus, online, release, fenced):
    updates.sweep(bus, now=NOW + 90 * SECOND)
    assert verdicts_counted() == {"provisional": 1}

    says_hello(bus, online, now=NOW + 200 * SECOND, **at_target(release))

    assert (again(fenced).state, again(fenced).is_late, again(fenced).is_provisional) == ("succeeded", True, False)
    assert (alert().state, "after all" in alert().note) == ("resolved", True)
    assert verdicts_counted() == {"provisional": 1, "corrected": 1}
    assert "update.corrected" in actions()
    assert Job.get_by_id(fenced.job_id).outcome == "succeeded"


def test_a_late_report_says_better_what_the_open_alert_is_about(bus, online, fenced):
    updates.sweep(bus, now=NOW + 90 * SECOND)
    ends(bus, online, fenced, "rolled_back", phase="trial", reason="boots", now=NOW + 200 * SECOND)

    assert (again(fenced).state, again(fenced).is_late) == ("rolled_back", True)
    assert (alert().state, alert().count, alert().message) == ("raised", 1, again(fenced).message)


def test_a_host_that_slept_a_day_in_the_download_is_tried_again(bus, online, sent):
    reports(bus, online, sent, "downloading")
    hangs_up(bus, online)
    updates.sweep(bus, now=NOW + 90 * SECOND)
    assert (again(sent).reason, alert().state) == ("connection_lost", "raised")

    later = NOW + 23 * 60 * MINUTE
    says_hello(bus, online, now=later, update={"attempt_id": sent.job_id, "phase": "downloading"})

    assert (again(sent).state, again(sent).is_late, alert().state) == ("deferred", True, "resolved")
    assert Job.get_by_id(sent.job_id).state == "queued"


def test_a_later_success_resolves_the_alert(bus, online, release, sent):
    ends(bus, online, sent, "failed", phase="downloading", reason="unreachable")
    attempt = updates.order(bus, host_id=online.id, actor=BOB, now=NOW + MINUTE)
    takes_orders(bus, online, now=NOW + MINUTE)
    reports(bus, online, attempt, "swapping", now=NOW + MINUTE)
    says_hello(bus, online, now=NOW + 2 * MINUTE, **at_target(release))
    ends(bus, online, attempt, "committed", now=NOW + 3 * MINUTE)

    assert (alert().state, alert().note) == ("resolved", again(attempt).message)


def test_the_journal_in_a_hello_counts_as_the_report(bus, online, fenced):
    journal = {"attempt_id": fenced.job_id, "phase": "trial", "outcome": "rolled_back", "reason": "boots"}

    says_hello(bus, online, now=NOW + 70 * SECOND, update=journal)

    assert (again(fenced).state, again(fenced).reason) == ("rolled_back", "boots")


@pytest.mark.parametrize(
    "journal",
    [{}, {"attempt_id": 7}, {"attempt_id": "x" * 5000, "phase": []}, {"attempt_id": None, "outcome": {"a": 1}}],
)
def test_a_journal_that_says_nonsense_is_no_evidence(bus, online, fenced, journal):
    says_hello(bus, online, now=NOW + 70 * SECOND, update=journal)

    assert again(fenced).state == "running"


def test_the_journal_of_another_hosts_attempt_is_no_evidence(bus, online, db1, fenced):
    says_hello(bus, db1)
    updates.order(bus, host_id=db1.id, actor=BOB, now=NOW)

    says_hello(bus, db1, update={"attempt_id": fenced.job_id, "phase": "trial", "outcome": "rolled_back"})

    assert again(fenced).state == "running"


def test_a_wrong_hash_fails_the_attempt_as_a_matter_of_integrity(bus, online, release, fenced):
    says_hello(bus, online, now=NOW + 9 * SECOND, **at_target(release, running_sha256="c" * 64))
    ends(bus, online, fenced, "committed", now=NOW + 70 * SECOND)

    assert (again(fenced).state, again(fenced).failure_class, again(fenced).is_provisional) == (
        "failed", "integrity", False,
    )  # fmt: skip
    assert texts(fenced)[-1] == "web1 reports: committed. The verdict stands."


@pytest.mark.parametrize("outcome", ["committed", "rolled_back", "refused", "deferred", "failed", "cancelled"])
def test_a_report_that_comes_twice_changes_nothing(bus, online, release, fenced, outcome):
    ends(bus, online, fenced, outcome, phase="trial")
    before = (again(fenced).state, again(fenced).ended_at, texts(fenced), actions(), alert() and alert().count)

    ends(bus, online, fenced, outcome, phase="trial", now=NOW + MINUTE)

    assert (again(fenced).state, again(fenced).ended_at, texts(fenced), actions(), alert() and alert().count) == before


def test_a_result_that_this_database_does_not_know_is_kept_once(bus, online):
    attempt_id = new_ulid()
    for _ in range(2):
        ends(bus, online, None, "committed", attempt_id=attempt_id, detail="from before the restore")

    [orphan] = OrphanResult.select()
    assert (orphan.attempt_id, orphan.outcome, orphan.detail) == (attempt_id, "committed", "from before the restore")
    assert actions() == ["update.unknown_result"]


def test_what_is_kept_of_unknown_results_is_bounded(bus, online):
    for _ in range(110):
        ends(bus, online, None, "failed")

    assert OrphanResult.select().count() == 100


def test_a_host_is_deleted_in_the_middle(bus, online, fenced):
    hosts.remove(bus, host_id=online.id, typed_name="web1", actor=ALICE, now=NOW)

    assert updates.sweep(bus, now=NOW + DAY) == 0
    assert updates.rearm(bus, now=NOW + DAY) == 0
    with pytest.raises(NotFound):
        reports(bus, online, fenced, "restarting")
    assert UpdateAttempt.select().count() == UpdateEvent.select().count() == 0


def test_nobody_learns_what_became_of_a_host_that_was_revoked(bus, online, fenced):
    hosts.revoke_credential(bus, host_id=online.id, actor=ALICE, now=NOW + SECOND)

    updates.sweep(bus, now=NOW + 90 * SECOND)

    assert (again(fenced).state, Job.get_by_id(fenced.job_id).outcome) == ("lost", "lost")
