"""The verdict about one source group: its code, its sentence, and the instants at which silence changes it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.domain.group_standing import OpenRun, SchedulesOfHost, Standing, seen
from rm.domain.group_verdict import CALM, CODES, GroupFacts, LastRun, Said, Skip, judge
from rm.domain.staleness import expected_interval, stale_after
from rm.shared.schedule import Timing
from tests.cast import NOW

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NIGHTLY = GroupFacts(
    mode="always_on", created_at=NOW - 30 * DAY, interval=DAY, scheduled_since=NOW - 30 * DAY,
    last_good_at=NOW - 9 * HOUR, last_run=LastRun("job", "succeeded", NOW - 9 * HOUR),
)  # fmt: skip
BY_HAND = replace(NIGHTLY, interval=None, scheduled_since=None)
FAILED = LastRun("job", "failed", NOW - HOUR, "The repository is locked", attempt=1, is_fired=True)


def aged(facts, age):
    """The same group, whose last good backup is so old."""
    return replace(facts, last_good_at=NOW - age, last_run=LastRun("job", "succeeded", NOW - age))


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        (NIGHTLY, "ok", "Backed up."),
        (replace(NIGHTLY, last_run=LastRun("job", "warnings", NOW - 9 * HOUR)), "ok", "Backed up with warnings."),
        (aged(NIGHTLY, 35 * HOUR), "ok", "Backed up."),
        (aged(NIGHTLY, 36 * HOUR), "late", "No good backup, although the expected time of 36 h is over."),
        (aged(NIGHTLY, 72 * HOUR), "missed", "No good backup, although twice the expected time of 36 h is over."),
        (aged(BY_HAND, 25 * HOUR), "manual", "Backed up. No schedule runs it: it is backed up by hand only."),
        (aged(BY_HAND, 26 * HOUR), "late", "No good backup for more than 26 h. No schedule runs it."),
        (aged(BY_HAND, 90 * DAY), "late", "No good backup for more than 26 h. No schedule runs it."),
        (aged(replace(NIGHTLY, mode="intermittent"), 5 * DAY), "ok", "Backed up."),
        (aged(replace(NIGHTLY, mode="intermittent"), 8 * DAY), "late",
         "No good backup, although the expected time of 7 days is over."),
        (aged(replace(NIGHTLY, stale_after_hours=4), 5 * HOUR), "late",
         "No good backup, although the expected time of 4 h is over."),
        (aged(replace(NIGHTLY, stale_after_hours=400), 14 * DAY), "ok", "Backed up."),
        (replace(NIGHTLY, last_run=FAILED), "failed", "The last run failed: The repository is locked."),
        (replace(NIGHTLY, last_run=replace(FAILED, message="")), "failed", "The last run failed: Its log says why."),
        (replace(NIGHTLY, last_run=FAILED, retries=2), "retrying",
         "The last run failed, and is tried again: The repository is locked."),
        (replace(NIGHTLY, last_run=replace(FAILED, attempt=3), retries=2), "failed",
         "The last run failed: The repository is locked."),
        (replace(NIGHTLY, last_run=replace(FAILED, is_fired=False), retries=2), "failed",
         "The last run failed: The repository is locked."),
        (replace(NIGHTLY, last_run=replace(FAILED, outcome="lost", message="No sign of it.")), "failed",
         "The last run is lost: No sign of it."),
        (replace(NIGHTLY, said=Said("waiting", "a check of the repository runs")), "waits",
         "A run waits. A check of the repository runs."),
        (replace(NIGHTLY, said=Said("running", "it ran late because the host was asleep")), "running",
         "Runs now. It ran late because the host was asleep."),
        (replace(NIGHTLY, said=Said("idle")), "ok", "Backed up."),
        (replace(NIGHTLY, skip=Skip("still_running", "", NOW - HOUR)), "skipped",
         "The last run that was due was skipped: The run before it was still under way."),
        (replace(NIGHTLY, skip=Skip("off", "The host was off since Monday.", NOW - HOUR)), "skipped",
         "The last run that was due was skipped: The host was off since Monday."),
        (replace(NIGHTLY, skip=Skip("off", "", NOW - 20 * HOUR)), "ok", "Backed up."),
        (aged(replace(NIGHTLY, said=Said("waiting", "the host runs on battery")), 40 * HOUR), "late",
         "No good backup, although the expected time of 36 h is over. Its agent says: The host runs on battery."),
    ],
)  # fmt: skip
def test_the_sentence_of_a_group(facts, code, words):
    verdict = judge(facts, NOW)

    assert (verdict.code, verdict.text) == (code, words)


def test_a_group_that_was_made_just_now_is_not_late_within_its_first_interval():
    new = GroupFacts(mode="always_on", created_at=NOW, interval=DAY, scheduled_since=NOW)

    assert judge(new, NOW + 35 * HOUR).code == "never"
    assert judge(new, NOW + 36 * HOUR).code == "late"
    assert judge(new, NOW + 36 * HOUR).text.startswith("No backup yet")
    assert judge(new, NOW + 72 * HOUR).code == "missed"


def test_a_group_that_nobody_schedules_and_nobody_ever_backed_up_is_never_late():
    verdict = judge(GroupFacts(mode="always_on", created_at=NOW), NOW + 400 * DAY)

    assert (verdict.code, verdict.late_at, verdict.turns_at) == ("never", None, None)


def test_a_new_schedule_does_not_make_an_old_backup_late_at_once_nor_protected():
    verdict = judge(replace(aged(NIGHTLY, 20 * DAY), scheduled_since=NOW), NOW)

    assert (verdict.code, verdict.late_at) == ("never", NOW + 36 * HOUR)
    assert verdict.protected_until < NOW


def test_a_retry_that_does_not_come_is_a_failure_in_the_end():
    facts = replace(NIGHTLY, last_run=FAILED, retries=2, retry_minutes=10)

    assert not judge(facts, NOW + 9 * timedelta(minutes=1)).is_failed
    assert judge(facts, NOW + 11 * timedelta(minutes=1)).is_failed


def test_a_host_that_falls_silent_after_a_failure_is_missed_and_no_longer_only_failed():
    facts = replace(aged(NIGHTLY, 2 * DAY), last_run=FAILED)

    assert judge(facts, NOW).code == "failed"
    assert judge(facts, NOW + 3 * DAY).code == "missed"
    assert "The repository is locked" in judge(facts, NOW + 3 * DAY).text


def test_a_failure_by_hand_of_a_group_that_nobody_schedules_stays_said():
    facts = replace(BY_HAND, last_good_at=None, last_run=FAILED)

    assert judge(facts, NOW + 90 * DAY).code == "failed"


def test_what_the_agent_plans_is_told_as_next():
    assert judge(replace(NIGHTLY, said=Said("idle", next_at=NOW + 3 * HOUR)), NOW).next_at == NOW + 3 * HOUR
    assert judge(replace(BY_HAND, said=Said("idle", next_at=NOW + 3 * HOUR)), NOW).next_at is None


@pytest.mark.parametrize(
    ("timings", "expected"),
    [
        ([Timing(cron="15 3 * * *")], DAY),
        ([Timing(cron="0 */6 * * *")], 6 * HOUR),
        ([Timing(cron="0 20 * * 1-5"), Timing(cron="0 9 * * 6,0")], 35 * HOUR),
        ([Timing(cron="0 20 * * 1-5")], 3 * DAY),
        ([Timing(cron="0 20 * * *"), Timing(every_minutes=240)], 4 * HOUR),
        ([Timing(every_minutes=240)], 4 * HOUR),
        ([], None),
    ],
)
def test_what_is_expected_of_a_group_is_the_longest_gap_between_all_its_runs(timings, expected):
    assert expected_interval(tuple(timings), zone_name="UTC", now=NOW) == expected


def test_a_day_of_25_hours_is_allowed_for():
    assert expected_interval((Timing(cron="15 3 * * *"),), zone_name="Europe/Paris", now=NOW) == 25 * HOUR


def test_a_group_that_runs_every_few_minutes_is_given_an_hour():
    assert stale_after(mode="always_on", interval=timedelta(minutes=15)) == HOUR


def test_a_laptop_with_a_monthly_schedule_has_longer_than_a_week():
    assert stale_after(mode="intermittent", interval=31 * DAY) == 46.5 * DAY


def test_the_jitter_of_a_schedule_is_not_lateness():
    assert stale_after(mode="always_on", interval=DAY, jitter=2 * HOUR) == 38 * HOUR


# ---- as it stands now ----

KEPT = Standing("ok", "Backed up.", NOW - HOUR, NOW + HOUR)


def stand(kept=KEPT, **changes):
    usual = {
        "late_at": NOW + DAY, "mode": "always_on", "open_run": None, "is_online": True, "last_seen_at": NOW, "now": NOW,
    }  # fmt: skip
    return seen(kept, **(usual | changes))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, "ok", "Backed up."),
        ({"is_online": False}, "ok", "Backed up."),
        ({"is_online": False, "mode": "intermittent"}, "asleep", "The host is asleep. Backed up."),
        ({"late_at": NOW}, "late", "No good backup came in the expected time."),
        ({"late_at": NOW, "is_online": False, "mode": "intermittent"}, "late",
         "No good backup came in the expected time."),
        ({"open_run": OpenRun(True, NOW)}, "running", "Runs now."),
        ({"open_run": OpenRun(True, NOW), "is_online": False}, "running",
         "Runs, as far as known: the connection to the host is lost."),
        ({"open_run": OpenRun(True, NOW, True, "the exclusive lock of db1")}, "waits",
         "The run waits for the exclusive lock of db1."),
        ({"open_run": OpenRun(False, NOW, waits_for="waits for the prune of db1")}, "waits",
         "Ordered: waits for the prune of db1."),
        ({"open_run": OpenRun(False, NOW), "is_online": False}, "waits", "Ordered: it starts when the host connects."),
    ],
)  # fmt: skip
def test_how_a_group_stands_at_this_moment(changes, code, words):
    assert (stand(**changes).code, stand(**changes).text) == (code, words)


def test_a_run_that_was_planned_for_the_past_is_not_shown_as_next():
    assert stand().next_at == NOW + HOUR
    assert stand(now=NOW + 2 * HOUR).next_at is None


def test_sleep_hides_neither_a_failure_nor_lateness():
    for code in set(CODES) - CALM - {"asleep"}:
        kept = Standing(code, "It is so.", NOW)
        assert stand(kept, is_online=False, mode="intermittent") == kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"can_run": False}, "Its agent is too old to run schedules: update it."),
        ({"has_repository": False}, "Without a repository its schedules do not run."),
        ({"applied": 2}, "The host has not taken over its newest schedules yet."),
        ({"problem": "no such hook"}, "The host could not take over its schedules: no such hook"),
    ],
)
def test_a_host_that_does_not_run_its_schedules_says_why(changes, words):
    usual = {"can_run": True, "has_repository": True, "wanted": 3, "applied": 3}

    assert SchedulesOfHost(**(usual | changes)).remark == words


# ---- for whatever the facts are ----

ages = st.integers(0, 60 * 24 * 40).map(lambda minutes: timedelta(minutes=minutes))
runs = st.builds(
    LastRun, id=st.just("job"), outcome=st.sampled_from(["succeeded", "warnings", "failed", "lost"]),
    ended_at=ages.map(lambda age: NOW - age), message=st.just("so it was"), attempt=st.integers(1, 4),
    is_fired=st.booleans(),
)  # fmt: skip


@st.composite
def groups(draw):
    run = draw(st.none() | runs)
    older = draw(st.none() | ages.map(lambda age: NOW - age))
    good = run.ended_at if run is not None and run.outcome in ("succeeded", "warnings") else older
    interval = draw(st.none() | st.integers(5, 60 * 24 * 40).map(lambda minutes: timedelta(minutes=minutes)))
    return GroupFacts(
        mode=draw(st.sampled_from(["always_on", "intermittent"])), created_at=NOW - draw(ages), interval=interval,
        scheduled_since=NOW - draw(ages) if interval is not None else None,
        stale_after_hours=draw(st.none() | st.integers(1, 2000)), retries=draw(st.integers(0, 3)), last_good_at=good,
        last_run=run, said=draw(st.none() | st.builds(Said, st.sampled_from(["idle", "waiting", "running"]))),
        skip=draw(st.none() | st.builds(Skip, st.just("off"), st.just(""), ages.map(lambda age: NOW - age))),
    )  # fmt: skip


@settings(deadline=None)
@given(groups(), ages, ages)
def test_time_alone_never_makes_a_group_better(facts, sooner, more):
    first, then = judge(facts, NOW + sooner), judge(facts, NOW + sooner + more)

    assert (first.late_at, first.missed_at, first.protected_until) == (
        then.late_at, then.missed_at, then.protected_until,
    )  # fmt: skip
    assert then.is_late >= first.is_late
    assert then.is_missed >= first.is_missed
    assert then.is_failed >= first.is_failed


@settings(deadline=None)
@given(groups(), ages)
def test_the_instants_agree_with_the_verdict(facts, later):
    now = NOW + later
    verdict = judge(facts, now)

    assert verdict.is_late == (verdict.late_at is not None and now >= verdict.late_at)
    assert not (verdict.is_missed and not verdict.is_late)
    assert verdict.code in CODES
    assert (verdict.code in ("late", "missed")) <= verdict.is_late
    assert (verdict.code in CALM) <= (not verdict.is_late)
    if verdict.is_late:
        assert verdict.protected_until is None or verdict.protected_until <= now
    if verdict.code in ("ok", "manual"):
        assert verdict.protected_until is not None and now < verdict.protected_until


@settings(deadline=None)
@given(groups(), ages)
def test_between_now_and_the_instant_at_which_it_turns_nothing_changes(facts, later):
    now = NOW + later
    verdict = judge(facts, now)
    just_before = (verdict.turns_at or now + 900 * DAY) - timedelta(seconds=1)

    assert replace(judge(facts, max(now, just_before)), turns_at=None) == replace(verdict, turns_at=None)


@settings(deadline=None)
@given(groups(), ages)
def test_nothing_is_expected_of_a_group_that_nobody_schedules(facts, later):
    verdict = judge(replace(facts, interval=None, scheduled_since=None), NOW + later)

    assert verdict.missed_at is None
    assert verdict.code != "missed"
