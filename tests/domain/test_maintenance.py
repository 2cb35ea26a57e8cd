"""When a repository is kept in order, by which host, and what goes before."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from rm.domain import maintenance as rules
from rm.domain.maintenance import AtRepository, Candidate, Last, Plan

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
WEB1 = Candidate(host_id="1", name="web1", is_connected=True)
DB1 = Candidate(host_id="2", name="db1", is_connected=True)
CAN_FORGET = frozenset({"forget", "time_box"})


def plan(kind: str = "prune", *, ran: timedelta | None = 8 * DAY, **fields: Any) -> Plan:
    """A weekly plan that last ran so long ago."""
    last = None if ran is None else Last(started_at=NOW - ran, ended_at=NOW - ran + HOUR)
    made = Plan(kind=kind, every=7 * DAY, box=4 * HOUR, since=NOW - 100 * DAY, last=last)
    return replace(made, **fields)


def decided(which: Plan, *, now: datetime = NOW, hosts: tuple[Candidate, ...] = (WEB1, DB1), **more: Any) -> Any:
    at = more.pop("at_repository", ())
    return rules.decide(which, now=now, candidates=hosts, at_repository=at, **more)


def at(hour: int, minute: int = 0, *, day: int = 23) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=timezone.utc)


def job(kind: str, *, ago: timedelta = 5 * MINUTE, host: str = "db1", is_sent: bool = True) -> AtRepository:
    return AtRepository(id=f"{kind} {host}", kind=kind, host_name=host, since=NOW - ago, is_sent=is_sent)


# ---- what is due ----


def test_what_is_due_starts_on_a_connected_host_within_its_time_box() -> None:
    found = decided(plan())

    assert (found.code, found.host_id, found.box) == (rules.RUN, "2", 4 * HOUR)


def test_what_ran_lately_says_when_it_is_due() -> None:
    found = decided(plan(ran=DAY))

    assert (found.code, found.text, found.at) == (rules.NOT_DUE, "is due", NOW + 6 * DAY)


def test_what_never_ran_is_due_one_cadence_after_it_was_set() -> None:
    assert decided(plan(ran=None, since=NOW - 6 * DAY)).at == NOW + DAY
    assert decided(plan(ran=None, since=NOW - 7 * DAY)).code == rules.RUN


def test_what_is_switched_off_or_impossible_says_so_before_all_else() -> None:
    assert decided(plan(is_enabled=False)).text == "is switched off"
    assert decided(plan(), blocked="needs a maintenance credential").text == "needs a maintenance credential"


@pytest.mark.parametrize(
    ("failures", "wait"), [(1, 15 * MINUTE), (2, 30 * MINUTE), (4, 2 * HOUR), (8, DAY), (500, DAY)]
)  # fmt: skip
def test_after_a_failure_it_is_tried_again_later_and_later(failures: int, wait: timedelta) -> None:
    failed = plan(last=Last(NOW - HOUR, NOW, rules.FAILED, failures))

    found = decided(failed)

    assert (found.code, found.text, found.at) == (rules.BACKING_OFF, "is tried again", NOW + wait)


def test_a_wait_after_a_failure_is_never_longer_than_the_cadence() -> None:
    failed = plan(every=HOUR, last=Last(NOW - HOUR, NOW, rules.FAILED, 9))

    assert decided(failed).at == NOW + HOUR


# ---- the window ----


def test_outside_of_its_window_it_waits_for_that_to_open() -> None:
    found = decided(plan(window_from="22:00", window_to="06:00", timezone="Europe/Berlin"))

    assert (found.code, found.at) == (rules.WINDOW, at(21))
    assert found.text == "waits for its window at 22:00 (Europe/Berlin)"


def test_a_window_over_midnight_is_open_on_both_sides_of_it() -> None:
    by_night = plan(window_from="22:00", window_to="06:00")

    assert decided(by_night, now=at(23, 30)).code == rules.RUN
    assert decided(by_night, now=at(3, day=24)).code == rules.RUN
    assert decided(by_night, now=at(6, day=24)).code == rules.WINDOW


def test_the_window_cuts_the_time_box_and_its_last_minutes_start_nothing() -> None:
    by_night = plan(window_from="22:00", window_to="06:00")

    assert decided(by_night, now=at(4, day=24)).box == 2 * HOUR
    assert decided(by_night, now=at(5, 55, day=24)).at == at(22, day=24)


def test_a_daily_run_in_a_window_does_not_wander_through_it() -> None:
    start = at(22, 1)
    for _ in range(30):
        ran = plan(every=DAY, window_from="22:00", window_to="06:00", last=Last(start, start + HOUR))
        found = decided(ran, now=start + 2 * HOUR)
        assert found.at == start.replace(minute=0) + DAY
        start = found.at + MINUTE


def test_several_runs_within_one_window_keep_their_distance() -> None:
    ran = plan(every=3 * HOUR, window_from="22:00", window_to="06:00", last=Last(at(22), at(22, 5)))

    assert decided(ran, now=at(22, 6)).at == at(1, day=24)


def test_a_failure_in_a_window_is_tried_again_in_it_not_at_once() -> None:
    failed = plan(window_from="22:00", window_to="06:00", last=Last(at(22), at(23), rules.FAILED, 1))

    assert decided(failed, now=at(23, 1)).at == at(23, 15)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        # Clocks go forward at 02:00 on 29 March: 02:30 does not exist and opens right after the gap.
        (datetime(2026, 3, 28, 12, tzinfo=timezone.utc), datetime(2026, 3, 29, 1, 30, tzinfo=timezone.utc)),
        # Clocks go back at 03:00 on 25 October: 02:30 comes twice and opens the first time.
        (datetime(2026, 10, 24, 12, tzinfo=timezone.utc), datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc)),
    ],
)
def test_a_window_opens_once_on_days_when_clocks_change(now: datetime, opens: datetime) -> None:
    by_night = plan(since=now - 90 * DAY, ran=None, window_from="02:30", window_to="05:00", timezone="Europe/Berlin")

    found = decided(by_night, now=now)

    assert (found.code, found.at) == (rules.WINDOW, opens)


def test_a_window_that_the_changed_clock_swallows_is_left_out() -> None:
    gone = plan(ran=None, window_from="02:15", window_to="02:45", timezone="Europe/Berlin", since=NOW - 900 * DAY)

    found = decided(gone, now=datetime(2026, 3, 28, 12, tzinfo=timezone.utc))

    assert found.at in (
        datetime(2026, 3, 29, 1, 15, tzinfo=timezone.utc), datetime(2026, 3, 30, 0, 15, tzinfo=timezone.utc),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("opens", "closes", "zone", "wrong"),
    [
        ("22:00", "06:00", "Europe/Berlin", {}),
        ("", "", "UTC", {}),
        ("22:00", "", "UTC", {"window_to"}),
        ("", "06:00", "UTC", {"window_from"}),
        ("24:00", "6:00", "UTC", {"window_from", "window_to"}),
        ("22:00", "22:15", "UTC", {"window_to"}),
        ("22:00", "22:00", "UTC", {"window_to"}),
        ("²2:00", "06:00", "UTC", {"window_from"}),
        ("22:00", "06:00", "Mars/Base", {"timezone"}),
        ("22:00", "06:00", "../etc/passwd", {"timezone"}),
        ("22:00", "06:00", "", {"timezone"}),
    ],
)
def test_a_window_that_cannot_be_is_refused_beside_its_field(
    opens: str, closes: str, zone: str, wrong: set[str]
) -> None:
    assert set(rules.window_problem(opens, closes, zone)) == set(wrong)


# ---- what goes before ----


def test_nothing_starts_beside_a_restore_however_long_it_is_overdue() -> None:
    found = decided(plan(ran=90 * DAY), at_repository=[job("restore")])

    assert (found.code, found.at) == (rules.RESTORE, NOW - 5 * MINUTE)
    assert found.text == "waits for the restore of db1: nothing disturbs a restore"


def test_one_exclusive_job_at_a_time_in_a_repository() -> None:
    found = decided(plan("prune"), at_repository=[job("check")])

    assert (found.code, found.text) == (rules.LEASE, "waits for the check of db1: one at a time in a repository")


def test_backups_go_first_but_cannot_keep_it_waiting_for_ever() -> None:
    backup = [job("backup")]

    assert decided(plan(ran=7 * DAY), at_repository=backup).code == rules.BACKUPS
    assert decided(plan(ran=7 * DAY + 2 * HOUR), at_repository=backup).code == rules.RUN


def test_what_runs_already_is_not_ordered_again() -> None:
    found = decided(plan(), at_repository=[job("prune")])

    assert (found.code, found.text, found.at) == (rules.OPEN, "runs on db1", NOW - 5 * MINUTE)


# ---- who does it ----


def test_the_least_busy_host_that_is_always_on_does_it() -> None:
    laptop = Candidate(host_id="3", name="a-laptop", is_connected=True, is_always_on=False)
    busy = replace(DB1, open_jobs=2)

    assert rules.choose_host("prune", [laptop, busy, WEB1]) == WEB1
    assert rules.choose_host("prune", [laptop, busy]) == busy
    assert rules.choose_host("prune", [laptop]) == laptop


def test_a_host_whose_agent_keeps_time_boxes_is_preferred() -> None:
    new = replace(WEB1, features=frozenset({"time_box"}), open_jobs=3)

    assert rules.choose_host("check", [DB1, new]) == new


def test_forgetting_is_for_the_owner_and_for_another_while_that_is_away() -> None:
    owner = replace(WEB1, features=CAN_FORGET, is_always_on=False)
    other = replace(DB1, features=CAN_FORGET)

    assert rules.choose_host("forget", [owner, other], owner_id="1") == owner
    assert rules.choose_host("forget", [replace(owner, is_connected=False), other], owner_id="1") == other


def test_without_a_host_it_says_who_is_missing_and_since_when() -> None:
    away = replace(WEB1, is_connected=False, last_seen_at=NOW - HOUR)

    assert decided(plan(), hosts=()).text == "no host uses this repository"
    found = decided(plan(), hosts=(away, replace(DB1, is_connected=False)))
    assert (found.code, found.text, found.at) == (
        rules.NO_HOST, "no host that uses it is connected", NOW - HOUR,
    )  # fmt: skip


def test_an_old_agent_is_not_asked_to_forget() -> None:
    found = decided(plan("forget"), hosts=(WEB1, DB1))

    assert (found.code, found.text) == (
        rules.NO_AGENT, "no connected host's agent can forget yet: update the agents",
    )  # fmt: skip


# ---- giving way ----


def test_a_running_job_gives_way_to_a_backup_that_waits_for_it_but_not_for_ever() -> None:
    waiting = [job("backup", ago=2 * MINUTE)]

    assert [rules.gives_way(waiting, yields=count, now=NOW) for count in (0, 2)] == [waiting[0], waiting[0]]
    assert rules.gives_way(waiting, yields=3, now=NOW) is None


def test_a_restore_never_waits_for_it() -> None:
    waiting = [job("backup", ago=2 * MINUTE), job("restore", ago=2 * MINUTE)]

    assert rules.gives_way(waiting, yields=99, now=NOW) == waiting[1]


def test_a_moment_of_waiting_ends_nothing() -> None:
    assert rules.gives_way([job("backup", ago=timedelta(seconds=30))], yields=0, now=NOW) is None


def test_after_giving_way_it_is_tried_again_soon() -> None:
    gave_way = plan(last=Last(NOW - HOUR, NOW, rules.GAVE_WAY))

    assert decided(gave_way).at == NOW + 10 * MINUTE


def test_what_outruns_its_time_box_is_noticed_here_too() -> None:
    assert not rules.is_overrun(NOW - 2 * HOUR, 2 * HOUR, NOW)
    assert rules.is_overrun(NOW - 2 * HOUR - 6 * MINUTE, 2 * HOUR, NOW)
    assert not rules.is_overrun(NOW - 9 * HOUR, timedelta(0), NOW)
    assert not rules.is_overrun(None, HOUR, NOW)


def test_checks_go_through_all_parts_and_begin_a_new_round() -> None:
    part, seen, rounds = 1, [], 0
    for _ in range(9):
        seen.append(part)
        part, is_new_round = rules.part_after(part, 4)
        rounds += is_new_round

    assert seen == [1, 2, 3, 4, 1, 2, 3, 4, 1]
    assert rounds == 2
