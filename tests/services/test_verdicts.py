"""Stored verdicts: what changes them, and what does not."""

from datetime import timedelta

import pytest

from rm.events import HostChanged
from rm.services import verdicts
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import GroupState
from rm.store.database import changes, db
from rm.store.models import Alert, GroupVerdict, Host, Job, SkippedRun, SourceGroup
from tests import cast
from tests.cast import NOW
from tests.services.judging import DAY, HOUR, ran, state, told, verdict

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
