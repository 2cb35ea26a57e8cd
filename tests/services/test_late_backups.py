"""What people are told of backups that are late, missed or failed, and of reports that come late."""

import pytest

from rm.services import backup_alerts, hosts, verdicts
from rm.shared.ids import new_ulid
from rm.store import hosts as host_rows
from rm.store.models import Alert, BackupDay, Host, Job, Schedule, ScheduleGroup, SourceGroup
from tests import cast
from tests.cast import NOW
from tests.services.judging import DAY, HOUR, ran, swept, told, verdict

# ---- what people are told ----


def test_a_host_that_misses_its_nightly_run_is_late_then_missed_then_recovered_and_each_is_told_once(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    story = []
    for hours in range(0, 100):
        now = NOW + hours * HOUR
        swept(bus, now)
        cast.judge(bus, web1.id, now=now)
        if not story or story[-1][1:] != (verdict(group).code, told()):
            story.append((hours, verdict(group).code, told()))
    cast.backed_up(bus, web1.id, NOW + 100 * HOUR)
    swept(bus, NOW + 101 * HOUR)

    assert story == [
        (0, "ok", []),
        (36, "late", [("backup_late", "raised", 1)]),
        (72, "missed", [("backup_late", "resolved", 1), ("backup_missed", "raised", 1)]),
    ]
    assert told() == [("backup_late", "resolved", 1), ("backup_missed", "resolved", 1)]
    assert Alert.get(Alert.kind == "backup_missed").note == "A good backup ended on 2026-11-27 at 16:00 UTC."
    assert verdict(group).code == "ok"


def test_a_laptop_may_sleep_for_five_days_and_is_late_after_eight(bus, web1):
    group = cast.nightly(bus, web1, mode="intermittent")
    cast.backed_up(bus, web1.id, NOW)
    Host.update(connected_at=None).where(Host.id == web1.id).execute()

    swept(bus, NOW + 5 * DAY)
    calm = host_rows.row(web1.id, now=NOW + 5 * DAY)
    silence = told()
    swept(bus, NOW + 8 * DAY)

    assert (calm.health.code, calm.health.word, calm.health.is_protected) == ("asleep", "Asleep", True)
    assert silence == []
    assert told() == [("backup_late", "raised", 1)]
    assert verdict(group).late_at == NOW + 7 * DAY
    assert host_rows.row(web1.id, now=NOW + 8 * DAY).health.code == "late"


def test_a_failure_is_told_when_no_retry_is_to_come_and_ends_with_the_next_good_backup(bus, web1):
    group = cast.nightly(bus, web1, retries=1, retry_minutes=10)
    cast.backed_up(bus, web1.id, NOW)
    ran(bus, web1, NOW + HOUR)
    first = (verdict(group).code, told())
    ran(bus, web1, NOW + 2 * HOUR, attempt=2)
    second = (verdict(group).code, told())
    cast.judge(bus, web1.id, now=NOW + 3 * HOUR)
    message = Alert.get().message
    cast.backed_up(bus, web1.id, NOW + 4 * HOUR)

    assert first == ("retrying", [])
    assert second == ("failed", [("backup_failed", "raised", 1)])
    assert "of files on web1 failed after 2 tries: The repository is locked." in message
    assert told() == [("backup_failed", "resolved", 1)]
    assert Alert.get().note == "A good backup ended on 2026-11-23 at 16:00 UTC."


def test_a_retry_that_never_comes_is_told_in_the_end(bus, web1):
    cast.nightly(bus, web1, retries=1, retry_minutes=10)
    ran(bus, web1, NOW + HOUR)

    swept(bus, NOW + 2 * HOUR)
    waiting = told()
    swept(bus, NOW + 3 * HOUR)
    swept(bus, NOW + 4 * HOUR)

    assert (waiting, told()) == ([], [("backup_failed", "raised", 1)])


def test_each_night_that_fails_counts_on_the_one_alert(bus, web1):
    cast.nightly(bus, web1, retries=0)
    for night in range(1, 6):
        ran(bus, web1, NOW + night * DAY)
        swept(bus, NOW + night * DAY + HOUR)

    assert told() == [("backup_failed", "raised", 5)]


def test_a_failure_after_which_nothing_comes_becomes_missed(bus, web1):
    cast.nightly(bus, web1, retries=0)
    cast.backed_up(bus, web1.id, NOW)
    ran(bus, web1, NOW + DAY)
    for hours in range(25, 90):
        swept(bus, NOW + hours * HOUR)

    assert told()[:2] == [("backup_failed", "resolved", 1), ("backup_missed", "raised", 1)]


def test_a_late_group_that_then_fails_is_told_as_failed_only(bus, web1):
    cast.nightly(bus, web1, retries=0)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 40 * HOUR)
    ran(bus, web1, NOW + 41 * HOUR)
    swept(bus, NOW + 42 * HOUR)

    assert told() == [("backup_late", "resolved", 1), ("backup_failed", "raised", 1)]


def test_a_group_whose_backup_runs_is_not_called_late_but_is_missed_in_the_end(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    Job.create(
        id=new_ulid(), host=web1.id, kind="backup", state="running", source_group="files", created_at=NOW + DAY,
        expires_at=NOW + 9 * DAY, started_at=NOW + DAY,
    )  # fmt: skip
    kinds = set()
    for hours in range(30, 80):
        swept(bus, NOW + hours * HOUR)
        kinds |= {(hours < 72, kind) for kind, _, _ in told()}

    assert kinds == {(False, "backup_missed")}
    assert "still under way" in Alert.get().message


def test_what_somebody_resolved_is_not_raised_again_by_time_alone(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 37 * HOUR)
    backup_alerts.alerts.resolve(bus, alert_id=Alert.get().id, actor=cast.ALICE, now=NOW + 38 * HOUR)
    for hours in range(38, 71):
        swept(bus, NOW + hours * HOUR)
        cast.judge(bus, web1.id, now=NOW + hours * HOUR)

    assert told() == [("backup_late", "resolved", 1)]


def test_a_fleet_that_nobody_schedules_raises_no_alert(bus, web1, db1):
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, db1.id, NOW, outcome="failed")
    for days in range(1, 30):
        swept(bus, NOW + days * DAY)

    assert told() == []
    assert (cast.host_row(web1).verdict_code, cast.host_row(db1).verdict_code) == ("late", "failed")


def test_a_failure_from_before_a_group_was_scheduled_is_not_told(bus, web1):
    cast.backed_up(bus, web1.id, NOW - DAY, outcome="failed")
    schedule = Schedule.create(
        id=new_ulid(), host=web1.id, name="nightly", cron="15 3 * * *", created_at=NOW, changed_at=NOW
    )
    ScheduleGroup.create(schedule=schedule.id, group=SourceGroup.get().id)
    cast.judge(bus, web1.id, now=NOW)
    swept(bus, NOW + HOUR)

    assert told() == []


@pytest.mark.parametrize("how", ["removed", "switched off", "revoked"])
def test_what_is_expected_no_longer_is_not_told_any_more(bus, web1, how):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 37 * HOUR)
    if how == "removed":
        SourceGroup.delete().where(SourceGroup.id == group).execute()
    elif how == "switched off":
        Schedule.update(is_enabled=False).execute()
    else:
        hosts.revoke_credential(bus, host_id=web1.id, actor=cast.ALICE, now=NOW + 38 * HOUR)
    cast.judge(bus, web1.id, now=NOW + 38 * HOUR)
    swept(bus, NOW + 90 * HOUR)

    assert told() == [("backup_late", "resolved", 1)]


# ---- reports that come late ----


def test_a_server_that_was_away_calls_nobody_late_before_they_could_report(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    back = NOW + 7 * DAY

    verdicts.sweep(bus, now=back, is_settled=False)
    cast.judge(bus, web1.id, now=back)
    for night in range(1, 8):
        ran(bus, web1, NOW + night * DAY - HOUR, outcome="succeeded")
        cast.judge(bus, web1.id, now=back)
    swept(bus, back + HOUR)

    assert told() == []
    assert verdict(group).code == "ok"
    assert not BackupDay.select().where(BackupDay.missed > 0).count()


def test_a_run_that_turns_out_to_have_been_in_time_takes_the_missed_day_back(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 40 * HOUR)
    missed = [(day.day, day.missed) for day in BackupDay.select()]
    ran(bus, web1, NOW + 24 * HOUR, outcome="succeeded")
    cast.judge(bus, web1.id, now=NOW + 41 * HOUR)

    assert missed == [("2026-11-25", 1)]
    assert BackupDay.get().missed == 0
    assert Alert.get(Alert.kind == "backup_late").note.startswith("It had run in time")
    assert verdict(group).code == "ok"


def test_a_missed_day_stays_in_the_strip_after_the_recovery(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 40 * HOUR)
    swept(bus, NOW + 41 * HOUR)
    cast.backed_up(bus, web1.id, NOW + 60 * HOUR)

    strip = host_rows.row(web1.id, now=NOW + 60 * HOUR).strip

    assert [(day.day, day.missed) for day in BackupDay.select()] == [("2026-11-25", 1)]
    assert strip[-2:] == ["m", "n"]
