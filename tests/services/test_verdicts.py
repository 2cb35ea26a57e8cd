"""Stored verdicts: what changes them, what does not, and what people are told of them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rm.events import EventBus, HostChanged
from rm.services import backup_alerts, general_settings, hosts, verdicts
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import GroupState
from rm.store import alerts as alert_rows
from rm.store import hosts as host_rows
from rm.store.database import changes, db
from rm.store.models import Alert, BackupDay, GroupVerdict, Host, Job, Schedule, ScheduleGroup, SkippedRun, SourceGroup
from tests import cast
from tests.cast import NOW, EnrolledHost

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def ran(bus: EventBus, host: EnrolledHost, at: datetime, *, outcome: str = "failed", attempt: int = 1, **values) -> str:
    """A run that the host's schedule fired, and that ended so."""
    job = Job.create(
        id=new_ulid(int(at.timestamp() * 1000)), host=host.id, kind="backup", state="finished", outcome=outcome,
        source_group="files", created_at=at, expires_at=at, started_at=at, finished_at=at, schedule_id="nightly",
        attempt=attempt, message="The repository is locked.", **values,
    )  # fmt: skip
    cast.judge(bus, host.id, now=at)
    return str(job.id)


def swept(bus: EventBus, now: datetime) -> None:
    """A pass of the sweep; of the hosts whose connection is open there was a sign of life just now."""
    Host.update(last_seen_at=now).where(Host.connected_at.is_null(False)).execute()
    verdicts.sweep(bus, now=now)


def verdict(group_id: str) -> GroupVerdict:
    return GroupVerdict.get_by_id(group_id)


def told() -> list[tuple[str, str, int]]:
    """Every alert: its kind, its state, and how often it was raised; the oldest first."""
    return [(one.kind, one.state, one.count) for one in Alert.select().order_by(Alert.id)]


# ---- the stored sentence ----


def test_a_host_is_judged_by_its_worst_group_and_protected_until_the_first_of_them_is_not(bus, web1):
    good, bad = cast.nightly(bus, web1), cast.nightly(bus, web1, name="db")
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, web1.id, NOW - 3 * HOUR, group="db")
    cast.judge(bus, web1.id, now=NOW)

    both = cast.host_row(web1)
    ran_db = Job.create(
        id=new_ulid(), host=web1.id, kind="backup", state="finished", outcome="failed", source_group="db",
        created_at=NOW, expires_at=NOW, finished_at=NOW, message="No such folder.",
    )  # fmt: skip
    cast.judge(bus, web1.id, now=NOW)

    assert (verdict(good).code, verdict(bad).code, verdict(bad).last_job_id) == ("ok", "failed", ran_db.id)
    assert (both.verdict_code, both.protected_until) == ("ok", NOW + 33 * HOUR)
    assert cast.host_row(web1).verdict_code == "failed"
    assert cast.host_row(web1).verdict_text == "db: The last run failed: No such folder."


def test_a_host_with_one_group_that_was_never_backed_up_is_not_protected(bus, web1):
    cast.nightly(bus, web1)
    cast.nightly(bus, web1, name="db")
    cast.backed_up(bus, web1.id, NOW)

    assert cast.host_row(web1).protected_until is None


def test_a_host_without_groups_has_nothing_chosen(bus, web1):
    cast.judge(bus, web1.id)

    assert (cast.host_row(web1).verdict_code, cast.host_row(web1).verdict_text) == ("never", verdicts.NOTHING_CHOSEN)


def test_what_changes_nothing_writes_nothing_and_tells_nobody(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    before = db.execute_sql("SELECT total_changes()").fetchone()

    with bus.subscribe() as listener:
        cast.judge(bus, web1.id, now=NOW + HOUR)
        assert listener.take(timeout=0) == []

    assert db.execute_sql("SELECT total_changes()").fetchone() == before


def test_a_changed_verdict_is_told_after_the_commit(bus, web1):
    group = cast.nightly(bus, web1)

    with bus.subscribe() as listener:
        with pytest.raises(RuntimeError), changes():
            Host.update(last_good_at=NOW).where(Host.id == web1.id).execute()
            GroupVerdict.update(last_good_at=NOW).where(GroupVerdict.group == group).execute()
            verdicts.refresh(bus, host_id=web1.id, now=NOW)
            raise RuntimeError
        nothing = listener.take(timeout=0)
        cast.backed_up(bus, web1.id, NOW)
        assert HostChanged(web1.id) in listener.take(timeout=0)

    assert nothing == []


def test_a_run_with_an_old_id_that_is_reported_late_does_not_hide_a_newer_one(bus, web1):
    group = cast.nightly(bus, web1, since=NOW - 9 * DAY)
    cast.backed_up(bus, web1.id, NOW)
    ran(bus, web1, NOW - 5 * DAY)

    assert (verdict(group).code, verdict(group).last_good_at) == ("ok", NOW)


def test_the_last_good_backup_is_known_however_many_runs_came_since(bus, web1, monkeypatch):
    monkeypatch.setattr(verdicts.judged, "RUNS_READ", 3)
    group = cast.nightly(bus, web1, since=NOW - DAY)
    cast.backed_up(bus, web1.id, NOW - 5 * HOUR)
    for minutes in range(10):
        ran(bus, web1, NOW - HOUR + timedelta(minutes=minutes))

    assert verdict(group).last_good_at == NOW - 5 * HOUR
    assert Job.get_by_id(verdict(group).last_job_id).finished_at == NOW - HOUR + timedelta(minutes=9)


def test_a_lost_run_that_turns_out_well_is_good_after_all(bus, web1):
    group = cast.nightly(bus, web1)
    job_id = ran(bus, web1, NOW + HOUR, outcome="lost")
    lost = verdict(group).code
    Job.update(outcome="succeeded").where(Job.id == job_id).execute()
    cast.judge(bus, web1.id, now=NOW + 2 * HOUR)

    assert (lost, verdict(group).code, verdict(group).last_good_at) == ("failed", "ok", NOW + HOUR)
    assert told() == [("backup_failed", "resolved", 1)]


def test_a_skipped_run_is_said_until_the_next_one_ends(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    SkippedRun.create(
        id=new_ulid(), host=web1.id, source_group="files", schedule_id="nightly", due_from=NOW + HOUR,
        due_to=NOW + HOUR, count=1, reason="agent_stopped", at=NOW + HOUR,
    )  # fmt: skip
    cast.judge(bus, web1.id, now=NOW + HOUR)
    skipped = verdict(group)
    cast.backed_up(bus, web1.id, NOW + 2 * HOUR)

    assert (skipped.code, skipped.since) == ("skipped", NOW + HOUR)
    assert "The agent was stopped" in skipped.text
    assert verdict(group).code == "ok"


# ---- what agents say ----


def state(code: str = "waiting", **values) -> GroupState:
    return GroupState(source_group="files", code=code, **values)


def test_what_an_agent_says_of_its_groups_becomes_part_of_the_verdict(bus, web1):
    group = cast.nightly(bus, web1)
    soon = instants.to_text(NOW + HOUR)

    verdicts.reported(
        bus, host_id=web1.id, groups=[state(why="the check of attic runs", since=soon, next_at=soon)], now=NOW
    )  # fmt: skip

    kept = verdict(group)
    assert (kept.code, kept.text) == ("waits", "A run waits. The check of attic runs.")
    assert (kept.since, kept.next_at, kept.reported_at) == (NOW + HOUR, NOW + HOUR, NOW)


def test_a_repeated_report_changes_nothing(bus, web1):
    cast.nightly(bus, web1)
    verdicts.reported(bus, host_id=web1.id, groups=[state()], now=NOW)
    before = db.execute_sql("SELECT total_changes()").fetchone()

    verdicts.reported(bus, host_id=web1.id, groups=[state()], now=NOW + HOUR)

    assert db.execute_sql("SELECT total_changes()").fetchone() == before


def test_a_group_of_which_the_agent_says_nothing_any_more_waits_no_longer(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    verdicts.reported(bus, host_id=web1.id, groups=[state()], now=NOW)

    verdicts.reported(bus, host_id=web1.id, groups=[], now=NOW)

    assert verdict(group).code == "ok"


def test_what_an_agent_says_of_groups_that_it_has_not_is_ignored(bus, web1):
    cast.nightly(bus, web1)

    verdicts.reported(bus, host_id=web1.id, groups=[GroupState(source_group="others", code="running")], now=NOW)
    verdicts.reported(bus, host_id="nobody", groups=[state()], now=NOW)

    assert GroupVerdict.select().count() == 1


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


# ---- other expectations ----


def expect(bus, **wanted) -> None:
    new = replace(general_settings.current(), **wanted)
    general_settings.save(bus, wanted=new, actor=cast.ALICE, now=NOW + HOUR)


def test_other_expectations_count_at_the_next_sweep_in_both_directions(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    before = verdict(group).late_at

    expect(bus, late_factor=3.0)
    swept(bus, NOW + 2 * HOUR)
    later = verdict(group).late_at
    expect(bus, late_factor=1.5)
    swept(bus, NOW + 2 * HOUR)

    assert (before, later, verdict(group).late_at) == (NOW + 36 * HOUR, NOW + 72 * HOUR, NOW + 36 * HOUR)


def test_the_days_of_intermittent_groups_are_a_setting_and_a_limit_of_their_own_stays(bus, web1):
    group, own = cast.nightly(bus, web1), cast.nightly(bus, web1, name="db")
    SourceGroup.update(mode="intermittent").execute()
    SourceGroup.update(stale_after_hours=5).where(SourceGroup.id == own).execute()
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, web1.id, NOW, group="db")

    expect(bus, intermittent_days=20)
    swept(bus, NOW + 2 * HOUR)

    assert (verdict(group).late_at, verdict(own).late_at) == (NOW + 20 * DAY, NOW + 5 * HOUR)


def test_what_is_late_no_more_by_other_expectations_is_resolved(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 37 * HOUR)

    expect(bus, late_factor=4.0)
    swept(bus, NOW + 38 * HOUR)

    assert told() == [("backup_late", "resolved", 1)]


def test_hosts_are_judged_anew_some_at_a_time_and_a_new_change_begins_anew(bus, web1, db1, monkeypatch):
    for host in (web1, db1):
        cast.nightly(bus, host)
        cast.backed_up(bus, host.id, NOW)
    swept(bus, NOW + HOUR)
    monkeypatch.setattr(verdicts, "HOSTS_PER_SWEEP", 1)
    expect(bus, late_factor=3.0)

    passes = [verdicts.sweep(bus, now=NOW + HOUR, is_settled=False) for _ in range(4)]
    assert passes == [1, 1, 0, 0]
    assert {one.late_at for one in GroupVerdict.select()} == {NOW + 72 * HOUR}

    expect(bus, late_factor=2.0)
    verdicts.sweep(bus, now=NOW + HOUR, is_settled=False)
    expect(bus, late_factor=4.0)
    passes = [verdicts.sweep(bus, now=NOW + HOUR, is_settled=False) for _ in range(3)]
    assert passes == [1, 1, 0]
    assert {one.late_at for one in GroupVerdict.select()} == {NOW + 96 * HOUR}


# ---- the sweep ----


def test_hosts_that_were_never_judged_are_judged_by_the_sweep(bus, web1, db1):
    SourceGroup.create(id=new_ulid(), host=web1.id, name="files", includes=["/srv"], created_at=NOW, changed_at=NOW)

    assert verdicts.sweep(bus, now=NOW, is_settled=False) == 2

    assert GroupVerdict.get().code == "never"
    assert verdicts.sweep(bus, now=NOW, is_settled=False) == 0


def test_a_pass_of_the_sweep_is_bounded_and_the_next_one_goes_on(bus, web1, db1, monkeypatch):
    for host in (web1, db1):
        cast.nightly(bus, host)
        cast.backed_up(bus, host.id, NOW)
    monkeypatch.setattr(verdicts, "HOSTS_PER_SWEEP", 1)

    first = verdicts.sweep(bus, now=NOW + 37 * HOUR)
    after_one = Alert.select().where(Alert.kind == "backup_late").count()
    second = verdicts.sweep(bus, now=NOW + 37 * HOUR)

    assert (first, after_one, second) == (1, 1, 1)
    assert Alert.select().where(Alert.kind == "backup_late").count() == 2


# ---- silence ----


def silent(host: EnrolledHost, since: datetime) -> None:
    Host.update(connected_at=None, last_seen_at=since).where(Host.id == host.id).execute()


def test_a_host_that_is_to_be_awake_and_is_silent_is_told_once_and_its_return_too(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    silent(web1, NOW)

    swept(bus, NOW + timedelta(minutes=14))
    early = told()
    for minutes in (16, 17, 30):
        swept(bus, NOW + timedelta(minutes=minutes))
    late = told()
    Host.update(connected_at=NOW + HOUR, last_seen_at=NOW + HOUR).where(Host.id == web1.id).execute()
    swept(bus, NOW + HOUR)

    assert (early, late) == ([], [("agent_offline", "raised", 1)])
    assert told() == [("agent_offline", "resolved", 1)]
    assert Alert.get().note == "It is connected again."


def test_a_silence_that_somebody_resolved_is_not_told_again_until_the_next_one(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    silent(web1, NOW)
    swept(bus, NOW + HOUR)
    [raised] = alert_rows.list_page(state="raised", limit=2)
    backup_alerts.alerts.resolve(bus, alert_id=raised.id, actor=cast.ALICE, now=NOW + HOUR)
    swept(bus, NOW + 2 * HOUR)
    once = told()
    silent(web1, NOW + 3 * HOUR)
    swept(bus, NOW + 4 * HOUR)

    assert once == [("agent_offline", "resolved", 1)]
    assert told() == [("agent_offline", "resolved", 1), ("agent_offline", "raised", 1)]


def test_of_many_silent_hosts_some_are_looked_at_at_once_and_each_is_told_by_itself(bus, web1, db1, monkeypatch):
    """However many there are: no read and no transaction of the sweep grows with the fleet."""
    known = [web1, db1, *(cast.add_host(bus, f"web{number}") for number in range(2, 7))]
    for host in known:
        cast.nightly(bus, host)
        cast.backed_up(bus, host.id, NOW)
        silent(host, NOW)
    monkeypatch.setattr(backup_alerts, "LOOKED_AT_ONCE", 2)
    looked_at, written = [], []
    for name in ("list_silent", "list_last_seen", "list_told_silent"):
        monkeypatch.setattr(backup_alerts.verdicts, name, _noting(getattr(backup_alerts.verdicts, name), looked_at))
    begin = db.begin
    monkeypatch.setattr(db, "begin", lambda *given: (written.append(0), begin(*given))[1])
    raise_alert = backup_alerts.alerts.raise_alert

    def counted(*given, **values):
        raise_alert(*given, **values)
        written[-1] += 1

    monkeypatch.setattr(backup_alerts.alerts, "raise_alert", counted)
    backup_alerts.tell_silence(bus, now=NOW + HOUR)

    assert len(told()) == len(known)
    assert set(looked_at) == {1, 2}
    assert written == [1] * len(known)
    for host in known:
        Host.update(connected_at=NOW + HOUR, last_seen_at=NOW + HOUR).where(Host.id == host.id).execute()
    backup_alerts.tell_silence(bus, now=NOW + HOUR)
    assert {state for _, state, _ in told()} == {"resolved"}
    assert max(looked_at) == 2


def test_a_host_that_comes_back_while_the_fleet_is_looked_at_is_not_called_silent(bus, web1, db1, monkeypatch):
    for host in (web1, db1):
        cast.nightly(bus, host)
        cast.backed_up(bus, host.id, NOW)
        silent(host, NOW)
    last_seen = backup_alerts.verdicts.list_last_seen

    def meanwhile(**given):
        Host.update(connected_at=NOW + HOUR, last_seen_at=NOW + HOUR).where(Host.id == web1.id).execute()
        return last_seen(**given)

    monkeypatch.setattr(backup_alerts.verdicts, "list_last_seen", meanwhile)
    backup_alerts.tell_silence(bus, now=NOW + HOUR)

    assert [alert.host_id for alert in alert_rows.list_page(limit=5)] == [db1.id]


def _noting(function, sizes):
    def noting(*given, among_hosts, **values):
        sizes.append(len(among_hosts))
        return function(*given, among_hosts=among_hosts, **values)

    return noting


def test_a_laptop_and_a_host_that_nobody_schedules_may_be_silent(bus, web1, db1):
    cast.nightly(bus, web1, mode="intermittent")
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, db1.id, NOW)
    for host in (web1, db1):
        silent(host, NOW)

    swept(bus, NOW + DAY)

    assert told() == []
