"""Saying when a host backs up, and what its page shows of that."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from werkzeug.datastructures import MultiDict

from rm.errors import Invalid
from rm.events import EventBus
from rm.services.schedules import ScheduleForm
from rm.store.models import Host, Schedule, ScheduleGroup, SourceGroup
from rm.store.vault import Vault
from rm.web import schedule_fields
from tests import cast
from tests.cast import NOW, EnrolledHost
from tests.web.conftest import Browser

FORM = {
    "name": "nightly", "when": "daily", "at": "03:15", "day": "0", "every": "6", "unit": "60", "cron": "",
    "jitter": "30", "is_enabled": "yes",
}  # fmt: skip


@pytest.fixture
def files(bus: EventBus, vault: Vault, web1: EnrolledHost) -> str:
    """The group of a host in Paris that runs schedules."""
    group_id = cast.give_repository(bus, vault, web1)
    Host.update(
        timezone="Europe/Paris", features=["schedules"], first_hello_at=NOW, connected_at=NOW, last_seen_at=NOW
    ).where(Host.id == web1.id).execute()  # fmt: skip
    return group_id


def planned(browser: Browser, host: EnrolledHost, group_id: str, **more: str) -> Schedule:
    browser.post(f"/hosts/{host.id}/schedules/new", FORM | {"groups": group_id} | more)
    return Schedule.get(Schedule.host == host.id)


# ---- the fields ----


@pytest.mark.parametrize(
    ("form", "when"),
    [
        (ScheduleForm(cron="15 3 * * *"), "daily"),
        (ScheduleForm(cron="0 22 * * 1-5"), "weekdays"),
        (ScheduleForm(cron="5 4 * * 3"), "weekly"),
        (ScheduleForm(cron="5 4 1 * *"), "cron"),
        (ScheduleForm(cron="*/30 2-5 * * *"), "cron"),
        (ScheduleForm(every_minutes=360), "every"),
        (ScheduleForm(every_minutes=90, jitter_seconds=7), "every"),
        (ScheduleForm(cron="15 3 * * *", jitter_seconds=86_399, is_enabled=False), "daily"),
    ],
)
def test_a_schedule_comes_back_from_its_form_as_it_was(form: ScheduleForm, when: str) -> None:
    texts = schedule_fields.texts_of(form)

    assert texts["when"] == when
    assert schedule_fields.typed(MultiDict(texts)) == form


def test_what_is_no_time_or_number_is_said_beside_its_field() -> None:
    wrong = {
        "at": {"when": "daily", "at": "24:00"},
        "every": {"when": "every", "every": "six"},
        "day": {"when": "weekly", "at": "3:15", "day": "9"},
        "jitter": {"when": "cron", "jitter": "a lot"},
    }

    for field, texts in wrong.items():
        with pytest.raises(Invalid) as raised:
            schedule_fields.typed(MultiDict(FORM | texts))
        assert set(raised.value.fields) == {field}


# ---- the pages ----


def test_a_schedule_is_made_changed_switched_and_removed(bob: Browser, web1: EnrolledHost, files: str) -> None:
    made = planned(bob, web1, files)
    path = f"/hosts/{web1.id}/schedules/{made.id}"
    form = bob.get(path)
    bob.post(path, FORM | {"groups": files, "when": "weekly", "day": "6", "at": "22:00"})
    changed = Schedule.get()
    bob.post(f"{path}/disable")
    off = Schedule.get().is_enabled
    bob.post(f"{path}/enable")
    on = Schedule.get().is_enabled
    bob.post(f"{path}/remove")

    assert (made.cron, made.jitter_seconds) == ("15 3 * * *", 1800)
    assert form.find("input[name=when][checked]")["value"] == "daily"
    assert form.find("#at")["value"] == "03:15"
    assert form.find(f"input[name=groups][value='{files}']").has_attr("checked")
    assert (changed.cron, off, on) == ("0 22 * * 6", False, True)
    assert Schedule.select().count() == 0


def test_a_new_schedule_proposes_every_night_and_all_groups(bob: Browser, web1: EnrolledHost, files: str) -> None:
    form = bob.get(f"/hosts/{web1.id}/schedules/new")

    assert form.find("#name")["value"] == "nightly"
    assert form.find(f"input[name=groups][value='{files}']").has_attr("checked")
    assert form.text("#beside-words") == "At 03:15 every day , up to 30 minutes later"


def test_the_form_leads_to_templates_for_the_same_on_many_hosts(bob: Browser, web1: EnrolledHost, files: str) -> None:
    assert bob.get(f"/hosts/{web1.id}/schedules/new").find("main a[href='/templates']").text == "Templates"


def test_beside_the_form_stand_the_next_five_runs_in_both_zones(bob: Browser, web1: EnrolledHost, files: str) -> None:
    form = bob.get(f"/hosts/{web1.id}/schedules/new")

    runs = form.soup.select("#beside .runs li")
    assert len(runs) == 5
    assert "Tue 24 Nov 2026, 03:15 CET" in runs[0].get_text()
    assert [one["datetime"] for one in runs[0].select("time")] == ["2026-11-24T02:15:00Z"] * 2
    assert "Europe/Paris" in form.text("#beside")


def test_next_runs_can_be_looked_at_before_saving(bob: Browser, web1: EnrolledHost, files: str) -> None:
    typed = urlencode(FORM | {"groups": files, "when": "cron", "cron": "0 12 1 1 *"})

    page = bob.get(f"/hosts/{web1.id}/schedules/new?{typed}")

    assert "1 Jan 2027, 12:00 CET" in page.text("#beside .runs li")
    assert page.find("#cron")["value"] == "0 12 1 1 *"
    assert Schedule.select().count() == 0


@pytest.mark.parametrize("cron", ["61 3 * * *", "0 3 30 2 *", "every night", "* * * * *", ""])
def test_a_timing_that_cannot_be_run_is_said_beside_and_refused(
    bob: Browser, web1: EnrolledHost, files: str, cron: str
) -> None:
    form = FORM | {"groups": files, "when": "cron", "cron": cron}

    beside = bob.get(f"/hosts/{web1.id}/schedules/new?{urlencode(form)}")
    answer = bob.post(f"/hosts/{web1.id}/schedules/new", form)

    assert beside.text("#beside-problem")
    assert answer.status == 422
    assert answer.text("#cron-error")
    assert answer.find("#cron")["value"] == cron
    assert answer.find("#name")["value"] == "nightly"
    assert Schedule.select().count() == 0


def test_a_schedule_without_a_group_is_pointed_out_and_refused(bob: Browser, web1: EnrolledHost, files: str) -> None:
    beside = bob.get(f"/hosts/{web1.id}/schedules/new?{urlencode(FORM)}")
    answer = bob.post(f"/hosts/{web1.id}/schedules/new", FORM)

    assert "choose a source group" in beside.text("#beside")
    assert "source group" in answer.text("#groups-error")


def test_a_retention_that_the_schedule_cannot_fill_is_pointed_out(bob: Browser, web1: EnrolledHost, files: str) -> None:
    SourceGroup.update(retention={"keep_hourly": 24}).execute()

    once = bob.get(f"/hosts/{web1.id}/schedules/new?{urlencode(FORM | {'groups': files})}")
    often = bob.get(
        f"/hosts/{web1.id}/schedules/new?{urlencode(FORM | {'groups': files, 'when': 'every', 'every': '1'})}"
    )

    assert "files keeps 24 hourly, but the schedule runs once a day." in once.text("#beside")
    assert "keeps 24 hourly" not in often.text("#beside")


def test_an_agent_that_is_too_old_for_schedules_is_pointed_out(bob: Browser, web1: EnrolledHost, files: str) -> None:
    Host.update(features=[]).execute()

    assert "too old to run schedules" in bob.get(f"/hosts/{web1.id}/schedules/new").text("#beside")


def test_a_group_of_another_host_cannot_be_chosen(
    bob: Browser, web1: EnrolledHost, db1: EnrolledHost, files: str
) -> None:
    answer = bob.post(f"/hosts/{db1.id}/schedules/new", FORM | {"groups": files})

    assert answer.status == 422
    assert ScheduleGroup.select().count() == 0


def test_another_hosts_schedule_is_not_found(bob: Browser, web1: EnrolledHost, db1: EnrolledHost, files: str) -> None:
    path = f"/hosts/{db1.id}/schedules/{planned(bob, web1, files).id}"

    assert bob.get(path).status == 404
    assert {bob.post(f"{path}{part}", FORM).status for part in ("", "/remove", "/enable", "/disable")} == {404}
    assert Schedule.select().count() == 1


def test_a_viewer_may_not_plan(charlie: Browser, bob: Browser, web1: EnrolledHost, files: str) -> None:
    path = f"/hosts/{web1.id}/schedules/{planned(bob, web1, files).id}"

    assert [charlie.get(path).status, charlie.post(path, FORM).status] == [403, 403]
    assert charlie.post(f"{path}/disable").status == 403
    assert Schedule.get().is_enabled
    assert not charlie.get(f"/hosts/{web1.id}").has("#schedules form")


# ---- the host's page ----


def test_the_host_shows_what_is_backed_up_when_and_what_is_kept(bob: Browser, web1: EnrolledHost, files: str) -> None:
    SourceGroup.update(retention={"keep_daily": 7}, mode="intermittent").execute()
    made = planned(bob, web1, files)
    Host.update(schedule_applied=Host.schedule_version).execute()

    page = bob.get(f"/hosts/{web1.id}")

    row = page.text(f"#group-{files}")
    assert "At 03:15 every day" in row
    assert "Keeps 7 daily." in row
    assert "intermittent" in row
    assert page.find(f"#group-{files} td time")["datetime"] == "2026-11-24T02:15:00Z"
    assert "Tue 24 Nov 2026, 03:15 CET" in page.text(f"#schedule-{made.id}")
    assert "On" in page.text(f"#schedule-{made.id}")
    assert not page.has("#delivery")


def test_a_group_that_nothing_runs_says_so(bob: Browser, web1: EnrolledHost, files: str) -> None:
    assert "no schedule runs it" in bob.get(f"/hosts/{web1.id}").text(f"#group-{files}")


def test_the_host_says_which_version_is_wanted_and_which_it_runs(bob: Browser, web1: EnrolledHost, files: str) -> None:
    planned(bob, web1, files)
    Host.update(schedule_version=5, schedule_applied=4).execute()
    online = bob.get(f"/hosts/{web1.id}").text("#delivery")
    Host.update(last_seen_at=NOW - timedelta(hours=1)).execute()
    offline = bob.get(f"/hosts/{web1.id}").text("#delivery")
    Host.update(schedule_problem="Its disk is full.").execute()
    problem = bob.get(f"/hosts/{web1.id}").text("#delivery")

    assert "On its way Version 5 is wanted. The host runs version 4 as before." in online
    assert "the host takes it over when it connects" in offline
    assert "could not take over version 5: Its disk is full." in problem


def test_after_the_first_backup_the_page_asks_for_a_schedule(
    bob: Browser, bus: EventBus, web1: EnrolledHost, files: str
) -> None:
    before = bob.get(f"/hosts/{web1.id}").text("#steps [aria-current=step]")
    cast.backed_up(bus, web1.id, NOW)
    after = bob.get(f"/hosts/{web1.id}")
    planned(bob, web1, files)
    then = bob.get(f"/hosts/{web1.id}")

    assert before != "Schedule"
    assert after.text("#steps [aria-current=step]") == "Schedule"
    assert after.find("#steps a.button--primary")["href"] == f"/hosts/{web1.id}/schedules/new"
    assert "Now let it run by itself" in after.text("#steps")
    assert then.find("#steps").has_attr("hidden")
