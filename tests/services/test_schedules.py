"""When a host backs up: schedules, their words, next runs and hints."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid, NotFound
from rm.services import schedule_outlook, schedules, source_groups
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm
from rm.shared.ids import new_ulid
from rm.store.models import AuditEntry, Host, Job, Schedule, ScheduleGroup
from tests import cast
from tests.cast import ALICE, BOB, NOW

NIGHTLY = ScheduleForm(name="nightly", cron="15 3 * * *", jitter_seconds=600)


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


@pytest.fixture
def save(bus, vault, web1, group):
    """save(form) → the schedule of web1, which runs its group unless told otherwise."""

    def save(form=NIGHTLY, *, schedule_id=None, groups=(group,), host=web1):
        form = replace(form, groups=list(groups))
        return schedules.save(bus, vault, host_id=host.id, schedule_id=schedule_id, form=form, actor=BOB, now=NOW)

    return save


def outlook(host):
    [found] = schedule_outlook.list_for_host(host.id, now=NOW)
    return found


def version(host):
    return cast.host_row(host).schedule_version


def test_a_schedule_is_made_and_changed(save, web1, group):
    made = save()
    changed = save(replace(NIGHTLY, cron="", every_minutes=360, name="often"), schedule_id=made.id)

    assert (changed.id, changed.name, changed.cron, changed.every_minutes) == (made.id, "often", "", 360)
    assert [(link.schedule_id, link.group_id) for link in ScheduleGroup.select()] == [(made.id, group)]
    assert [entry.action for entry in AuditEntry.select().where(AuditEntry.target_kind == "schedule")] == [
        "schedule.created", "schedule.changed",
    ]  # fmt: skip


def test_each_change_raises_the_wanted_version(bus, vault, save, web1):
    before = version(web1)
    made = save()
    schedules.enable(bus, vault, host_id=web1.id, schedule_id=made.id, is_enabled=False, actor=BOB, now=NOW)
    schedules.enable(bus, vault, host_id=web1.id, schedule_id=made.id, is_enabled=False, actor=BOB, now=NOW)
    schedules.remove(bus, vault, host_id=web1.id, schedule_id=made.id, actor=BOB, now=NOW)

    assert version(web1) == before + 3
    assert Schedule.select().count() == 0


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": " "}),
        ("name", {"name": "x" * 101}),
        ("cron", {"cron": ""}),
        ("cron", {"cron": "every day"}),
        ("cron", {"cron": "0 0 31 2 *"}),
        ("cron", {"cron": "* * * * *"}),
        ("cron", {"every_minutes": 60}),
        ("every_minutes", {"cron": "", "every_minutes": 4}),
        ("jitter_seconds", {"jitter_seconds": -1}),
        ("jitter_seconds", {"jitter_seconds": 86_401}),
        ("jitter_seconds", {"jitter_seconds": 86_400}),
        ("jitter_seconds", {"cron": "0 1,2 * * *", "jitter_seconds": 3600}),
        ("jitter_seconds", {"cron": "", "every_minutes": 10, "jitter_seconds": 600}),
    ],
)
def test_a_schedule_that_cannot_be_run_is_refused_beside_its_field(save, field, changes):
    with pytest.raises(Invalid) as caught:
        save(replace(NIGHTLY, **changes))

    assert list(caught.value.fields) == [field]
    assert Schedule.select().count() == 0


def test_jitter_a_second_shorter_than_the_interval_is_taken(save):
    assert save(replace(NIGHTLY, cron="", every_minutes=10, jitter_seconds=599)).jitter_seconds == 599


def test_a_schedule_runs_groups_of_its_own_host_only(save, db1, vault, bus):
    foreign = cast.give_repository(bus, vault, db1)

    with pytest.raises(Invalid) as caught:
        save(groups=[foreign])
    assert "groups" in caught.value.fields


def test_a_schedule_that_runs_nothing_is_kept_only_switched_off(bus, vault, save, web1):
    with pytest.raises(Invalid):
        save(groups=[])
    made = save(replace(NIGHTLY, is_enabled=False), groups=[])

    with pytest.raises(Conflict) as caught:
        schedules.enable(bus, vault, host_id=web1.id, schedule_id=made.id, is_enabled=True, actor=BOB, now=NOW)
    assert caught.value.code == "schedule_empty"


def test_a_host_cannot_have_two_schedules_of_one_name(save):
    save()

    with pytest.raises(Invalid):
        save()


def test_a_host_has_at_most_a_hundred_schedules(save, web1):
    for number in range(100):
        Schedule.create(id=new_ulid(), host=web1.id, name=f"{number}", cron="0 3 * * *", created_at=NOW, changed_at=NOW)

    with pytest.raises(Invalid) as caught:
        save()
    assert "100" in caught.value.fields["name"]


def test_another_hosts_schedule_cannot_be_changed_switched_or_removed(bus, vault, save, db1):
    made = save()

    with pytest.raises(NotFound):
        save(schedule_id=made.id, groups=[], host=db1)
    with pytest.raises(NotFound):
        schedules.enable(bus, vault, host_id=db1.id, schedule_id=made.id, is_enabled=False, actor=BOB, now=NOW)
    with pytest.raises(NotFound):
        schedules.remove(bus, vault, host_id=db1.id, schedule_id=made.id, actor=BOB, now=NOW)
    assert Schedule.get().is_enabled


# ---- what it will do ----


def test_the_next_five_runs_are_shown_in_the_hosts_zone(save, web1):
    Host.update(timezone="Europe/Berlin").where(Host.id == web1.id).execute()
    save()

    found = outlook(web1)

    assert found.words == "At 03:15 every day"
    assert found.zone == "Europe/Berlin"
    assert [run.strftime("%d %H:%M %z") for run in found.next_runs] == [
        "24 03:15 +0100", "25 03:15 +0100", "26 03:15 +0100", "27 03:15 +0100", "28 03:15 +0100",
    ]  # fmt: skip
    assert found.hints == []


def test_a_host_without_a_known_zone_is_shown_in_utc_and_says_so(save, web1):
    Host.update(timezone="").where(Host.id == web1.id).execute()
    save()

    assert outlook(web1).zone == "UTC"
    assert any("time zone" in hint for hint in outlook(web1).hints)


def test_an_interval_goes_on_from_the_last_run(save, web1, group):
    schedule = save(replace(NIGHTLY, cron="", every_minutes=360))
    due = NOW - timedelta(hours=2)
    Job.create(
        id=new_ulid(), host=web1.id, kind="backup", state="finished", outcome="succeeded", created_at=due,
        expires_at=due, finished_at=NOW, schedule_id=schedule.id, due_at=due,
    )  # fmt: skip

    found = outlook(web1)

    assert found.words == "Every 6 hours while the host is on"
    assert found.next_runs[0] == NOW + timedelta(hours=4)


def test_a_schedule_that_is_off_or_empty_shows_no_runs_and_why(bus, save, web1, group):
    save(replace(NIGHTLY, is_enabled=False))
    off = outlook(web1)
    source_groups.remove(bus, host_id=web1.id, group_id=group, actor=BOB, now=NOW)
    empty = outlook(web1)

    assert (off.next_runs, empty.next_runs) == ([], [])
    assert "It is switched off." in off.hints
    assert any("runs nothing" in hint for hint in empty.hints)


def test_a_retention_that_no_schedule_can_fill_is_pointed_out(bus, vault, save, web1, group):
    form = SourceGroupForm(name="files", includes=["/srv"], retention={"keep_hourly": 24})
    source_groups.save(bus, vault, host_id=web1.id, group_id=group, form=form, actor=ALICE, now=NOW)
    save()
    daily = outlook(web1).hints

    save(replace(NIGHTLY, name="hourly", cron="0 * * * *"))

    assert any("24 hourly" in hint and "once a day" in hint for hint in daily)
    assert not any("24 hourly" in hint for hint in schedule_outlook.hints_of_groups(web1.id, now=NOW)[group])


def test_a_group_that_no_schedule_runs_says_so(save, web1, group):
    save(replace(NIGHTLY, is_enabled=False))

    [hint] = schedule_outlook.hints_of_groups(web1.id, now=NOW)[group]

    assert "No schedule runs it" in hint


def test_what_is_being_typed_is_shown_before_it_is_saved(web1):
    host = cast.host_row(web1)

    good = schedule_outlook.preview(host, replace(NIGHTLY, cron="  0   4 * * 1 "), now=NOW)
    bad = schedule_outlook.preview(host, replace(NIGHTLY, cron="61 * * * *"), now=NOW)

    assert (len(good.next_runs), good.problem) == (5, "")
    assert "Monday" in good.words
    assert bad.problem and not bad.next_runs
