"""Verdicts on pages: the dashboard's sentence, a host's row, and the card that says why."""

from datetime import timedelta

import pytest
from flask import Flask

from rm.events import EventBus, HostChanged
from rm.services import verdicts
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import GroupState
from rm.store.models import BackupDay, Host, Job, Schedule, SkippedRun
from rm.web.host_view import HostView
from tests import cast
from tests.cast import NOW, EnrolledHost
from tests.web.conftest import Browser

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def late_nights(bus: EventBus, host: EnrolledHost, *, age: timedelta, **values: object) -> str:
    """A host that is to run each night and was backed up so long ago; the sweep has passed. The group's id."""
    group = cast.nightly(bus, host, since=NOW - 30 * DAY, **values)
    cast.backed_up(bus, host.id, NOW - age)
    Host.update(connected_at=NOW, last_seen_at=NOW).where(Host.id == host.id).execute()
    verdicts.sweep(bus, now=NOW)
    return group


# ---- the dashboard ----


def test_the_sentence_counts_each_host_by_what_is_expected_of_it(alice: Browser, bus, web1, db1) -> None:
    late_nights(bus, web1, age=30 * HOUR)
    late_nights(bus, db1, age=40 * HOUR, mode="intermittent")
    both = alice.get("/").text("#verdict h1")
    cast.nightly(bus, web1, name="db", since=NOW - 30 * DAY)

    page = alice.get("/")

    assert both == "All 2 hosts are protected."
    assert page.text("#verdict h1") == "1 of 2 hosts is protected. web1 has no good backup that is young enough."
    assert page.text("#readouts a").startswith("Protected hosts 1 of 2")


def test_what_an_alert_tells_is_not_told_twice(alice: Browser, bus: EventBus, web1, db1) -> None:
    late_nights(bus, web1, age=40 * HOUR)
    late_nights(bus, db1, age=HOUR)

    needs = alice.get("/").find("#needs")

    assert needs.select_one(".count").get_text() == "1"
    assert [str(need["id"])[:14] for need in needs.select("article")] == ["need-incident-"]
    assert "A backup of files on web1 was expected by 2026-11-23 at 08:00 UTC" in needs.get_text()


def test_a_row_says_the_sentence_of_its_worst_group(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    cast.nightly(bus, web1)
    cast.nightly(bus, web1, name="db")
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, web1.id, NOW, group="db")
    verdicts.reported(
        bus, host_id=web1.id, now=NOW,
        groups=[GroupState(source_group="db", code="waiting", why="the host runs on battery")],
    )  # fmt: skip

    row = alice.get("/").text(f"#host-{web1.id} td")

    assert row == "Waits db: A run waits. The host runs on battery."


def test_a_laptop_that_sleeps_is_calm_on_the_dashboard(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    late_nights(bus, web1, age=5 * DAY, mode="intermittent")
    Host.update(connected_at=None, last_seen_at=NOW - 5 * DAY).where(Host.id == web1.id).execute()

    page = alice.get("/")

    assert page.find("#verdict")["class"] == ["verdict", "verdict--ok"]
    assert page.has(f"#host-{web1.id} .status--asleep")
    assert page.text(f"#host-{web1.id} .status").startswith("Asleep")
    assert page.find("#needs").has_attr("hidden")


def test_a_missed_day_is_seen_and_said(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    for back, values in (
        (0, {"succeeded": 1}),
        (1, {"missed": 1}),
        (2, {"missed": 1, "succeeded": 1}),
        (3, {"failed": 1}),
    ):
        BackupDay.create(host=web1.id, day=(NOW - back * DAY).strftime("%Y-%m-%d"), **values)

    row = alice.get("/").find(f"#host-{web1.id} .trace")
    strip = alice.get(f"/hosts/{web1.id}").soup.select("#days .strip__day")

    assert row["aria-label"] == "1 ok, 2 missed, 1 failed"
    assert row.select_one(".trace__missed")
    assert [day["class"][1].rpartition("--")[2] for day in strip[-4:]] == ["failed", "missed", "missed", "ok"]
    assert strip[-2]["title"] == "22 Nov: a backup did not come"


# ---- the card ----


def why(browser: Browser, host: EnrolledHost) -> str:
    return browser.get(f"/hosts/{host.id}").text("#why")


def test_the_card_says_for_each_group_what_is_since_when_and_what_comes_next(
    charlie: Browser, bus: EventBus, web1: EnrolledHost
) -> None:
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    planned = instants.to_text(NOW + 15 * HOUR)
    verdicts.reported(
        bus, host_id=web1.id, now=NOW, groups=[GroupState(source_group="files", code="idle", next_at=planned)]
    )

    row = charlie.get(f"/hosts/{web1.id}").find(f"#why-{group}")

    assert " ".join(row.get_text(" ").split()) == (
        "files Backed up 23 Nov 2026, 12:00:00 UTC next run 24 Nov 2026, 03:00:00 UTC 25 Nov 2026, 00:00 UTC"
    )


def test_a_failed_group_says_why_and_when_it_is_tried_again(alice: Browser, bus: EventBus, web1) -> None:
    cast.nightly(bus, web1, retries=2)
    Job.create(
        id=new_ulid(), host=web1.id, kind="backup", state="finished", outcome="failed", source_group="files",
        created_at=NOW, expires_at=NOW, finished_at=NOW, schedule_id="nightly", message="<b>Locked</b>\u202e by db1",
    )  # fmt: skip
    cast.judge(bus, web1.id)
    verdicts.reported(
        bus, host_id=web1.id, now=NOW,
        groups=[GroupState(source_group="files", code="retrying", next_at=instants.to_text(NOW + HOUR))],
    )  # fmt: skip

    said = why(alice, web1)

    assert "Tries again The last run failed, and is tried again: <b>Locked</b>\\u202e by db1." in said
    assert "next try 23 Nov 2026, 13:00:00 UTC" in said


def test_a_run_that_waits_for_a_lock_says_for_which(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    cast.nightly(bus, web1)
    Job.create(
        id=new_ulid(), host=web1.id, kind="backup", state="running", source_group="files", created_at=NOW,
        expires_at=NOW, started_at=NOW, progress={"phase": "waiting", "waits_for": "the exclusive lock of db1 (prune)"},
    )  # fmt: skip

    assert "Waits The run waits for the exclusive lock of db1 (prune)." in why(alice, web1)


def test_a_group_that_nobody_schedules_says_so(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    cast.backed_up(bus, web1.id, NOW)

    assert "By hand Backed up. No schedule runs it: it is backed up by hand only." in why(alice, web1)
    assert "no schedule" in why(alice, web1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"repository": None}, "Without a repository its schedules do not run."),
        ({"features": []}, "Its agent is too old to run schedules: update it."),
        ({"schedule_version": 7}, "The host has not taken over its newest schedules yet."),
        ({"schedule_problem": "no hook named dump"}, "The host could not take over its schedules: no hook named dump"),
    ],
)
def test_a_host_that_does_not_run_its_schedules_says_why(alice, bus, vault, web1, values, words) -> None:
    cast.give_repository(bus, vault, web1)
    Host.update(schedule_version=1, schedule_applied=1).where(Host.id == web1.id).execute()
    cast.nightly(bus, web1, name="db")
    Host.update(values).where(Host.id == web1.id).execute()

    assert words in why(alice, web1)


def test_runs_that_did_not_take_place_are_listed_with_their_reason(alice: Browser, bus: EventBus, web1) -> None:
    cast.nightly(bus, web1)
    for count, reason, message in ((1, "still_running", ""), (4, "asleep", "The host slept <i>well</i>.")):
        SkippedRun.create(
            id=new_ulid(), host=web1.id, source_group="files", schedule_id="nightly", due_from=NOW, due_to=NOW,
            count=count, reason=reason, message=message, at=NOW,
        )  # fmt: skip

    listed = [
        " ".join(item.get_text(" ").split()) for item in alice.get(f"/hosts/{web1.id}").soup.select("#skipped li")
    ]

    assert sorted(listed) == [
        "files , 4 runs, the last of them due 23 Nov 2026, 12:00:00 UTC : The host slept <i>well</i>.",
        "files , due 23 Nov 2026, 12:00:00 UTC : the run before it was still under way",
    ]


def test_a_host_without_groups_has_no_card(alice: Browser, web1: EnrolledHost) -> None:
    assert alice.get(f"/hosts/{web1.id}").find("#why").has_attr("hidden")


def test_the_card_is_alive(app: Flask, bus: EventBus, web1: EnrolledHost) -> None:
    cast.nightly(bus, web1)
    view = HostView(app, web1.id, tab="overview", role="viewer")
    view.everything(NOW)
    cast.backed_up(bus, web1.id, NOW)

    parts = {part.target: part.html for part in view.changed([HostChanged(web1.id)], NOW)}

    assert "Backed up" in parts["#why"]
    assert "Backed up" in parts["#host-verdict"] or "Protected" in parts["#host-verdict"]


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (1, "Protected: last good backup 1 h ago."),
        (37, "No good backup for 37 h."),
        (80, "No good backup for 3 days."),
    ],
)
def test_the_sentence_on_top_of_a_host(alice: Browser, bus, web1, hours: int, words: str) -> None:
    late_nights(bus, web1, age=hours * HOUR)

    assert alice.get(f"/hosts/{web1.id}").text("#host-verdict .verdict__text") == words


def test_switching_a_schedule_off_takes_the_expectation_away(alice: Browser, bus, web1) -> None:
    late_nights(bus, web1, age=30 * HOUR)
    Schedule.update(is_enabled=False).execute()
    cast.judge(bus, web1.id)

    assert "No good backup for more than 26 h. No schedule runs it." in why(alice, web1)
