"""Schedules on their way to an agent, and what it says of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.services import jobs, schedules, source_groups
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm
from rm.shared import ids, instants
from rm.shared.protocol import (
    Heartbeat,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    LogLine,
    RunsSkipped,
    ScheduleAck,
)
from rm.store import hosts as stored_hosts
from rm.store.models import AuditEntry, Host, Job, JobLogLine, SkippedRun, SourceGroup
from tests import cast
from tests.agent_link.conftest import wait_until
from tests.cast import ALICE, BOB, NOW

ABLE = {"features": ["schedules"]}


@pytest.fixture
def plan(bus, vault, web1, group):
    def plan(**changes):
        form = replace(ScheduleForm(name="nightly", cron="15 3 * * *", groups=[group]), **changes)
        return schedules.save(bus, vault, host_id=web1.id, schedule_id=None, form=form, actor=BOB, now=NOW)

    return plan


def wanted(host):
    return cast.host_row(host).schedule_version


def types(ws):
    return [message.type for message in ws.sent]


def test_a_new_host_is_sent_its_set_after_the_configuration_and_before_any_command(connect, bus, web1, group, plan):
    schedule = plan()
    jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    ws = connect(web1, **ABLE)
    sent = ws.wait_for("schedule.set", version=wanted(web1))
    ws.wait_for("command.run")

    assert [one.id for one in sent.schedules] == [schedule.id]
    assert types(ws) == ["welcome", "config.set", "schedule.set", "command.run"]


def test_a_change_reaches_a_connected_host_at_once(connect, web1, plan):
    ws = connect(web1, **ABLE)

    plan()

    assert ws.wait_for("schedule.set", version=wanted(web1)).schedules[0].cron == "15 3 * * *"


def test_an_agent_that_has_this_version_is_sent_nothing(connect, bus, web1, group, plan):
    plan()
    jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)

    ws = connect(web1, schedule_version=wanted(web1), **ABLE)
    ws.wait_for("command.run")

    assert "schedule.set" not in types(ws)


@pytest.mark.parametrize("known", [0, 1, 99])
def test_an_agent_with_another_version_is_sent_the_whole_set_whichever_is_greater(connect, web1, plan, known):
    plan()

    ws = connect(web1, schedule_version=known, **ABLE)

    assert ws.wait_for("schedule.set").version == wanted(web1)


def test_an_agent_that_cannot_run_schedules_gets_none(connect, bus, web1, group, plan):
    plan()
    jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)

    ws = connect(web1)
    ws.wait_for("command.run")

    assert "schedule.set" not in types(ws)


def test_what_was_applied_and_what_is_wanted_are_both_kept(connect, web1, plan):
    plan()
    ws = connect(web1, **ABLE)
    sent = ws.wait_for("schedule.set")
    before = cast.host_row(web1)

    ws.wait_for("ack", id=ws.say(ScheduleAck(schedule_version=sent.version)))

    after = cast.host_row(web1)
    assert (before.schedule_applied, after.schedule_applied) == (0, wanted(web1))
    assert after.config_applied == before.config_applied


def test_an_ack_of_the_configuration_says_nothing_of_the_schedules(connect, web1, plan):
    plan()
    ws = connect(web1, **ABLE)
    ws.wait_for("ack", id=ws.say(ScheduleAck(schedule_version=ws.wait_for("schedule.set").version)))

    config = ws.wait_for("config.set")
    ws.wait_for("ack", id=ws.say(ScheduleAck(config_version=config.version)))

    host = cast.host_row(web1)
    assert (host.schedule_applied, host.config_applied) == (host.schedule_version, host.config_version)


def test_a_set_that_the_agent_cannot_apply_leaves_its_reason_until_one_is_applied(connect, web1, plan):
    plan()
    ws = connect(web1, **ABLE)
    ws.wait_for("ack", id=ws.say(ScheduleAck(config_version=ws.wait_for("config.set").version)))
    ws.wait_for("schedule.set")
    ws.wait_for("ack", id=ws.say(ScheduleAck(problem="the disk is full")))
    refused = cast.host_row(web1)

    ws.wait_for("ack", id=ws.say(ScheduleAck(schedule_version=wanted(web1))))

    assert (refused.schedule_applied, refused.schedule_problem) == (0, "the disk is full")
    assert refused.config_applied == refused.config_version
    assert cast.host_row(web1).schedule_problem == ""
    assert AuditEntry.select().where(AuditEntry.action == "host.schedules_refused").count() == 1


def test_a_set_that_was_not_applied_is_sent_again_with_the_next_connection(connect, web1, plan):
    plan()
    first = connect(web1, **ABLE)
    first.wait_for("schedule.set")
    first.hang_up()
    first.thread.join(30)

    again = connect(web1, **ABLE)

    assert again.wait_for("schedule.set").version == wanted(web1)


def test_shell_text_that_cannot_be_opened_holds_up_neither_configuration_nor_jobs(connect, bus, web1, group, plan):
    plan()
    SourceGroup.update(pre_shell_sealed=b"\x01" + b"x" * 40).where(SourceGroup.id == group).execute()
    jobs.order(bus, host_id=web1.id, kind="init", actor=BOB, now=NOW)

    ws = connect(web1, **ABLE)
    ws.wait_for("command.run")

    assert types(ws) == ["welcome", "config.set", "command.run"]


def test_hello_says_what_the_agent_can_do_and_what_its_owner_allows(connect, web1):
    connect(
        web1, features=["schedules", "hooks"], hooks=["dump", "notify"], hooks_policy="server", restore_in_place=True,
        restore_directory="/var/restore", schedule_version=7,
    )  # fmt: skip

    host = cast.host_row(web1)
    assert (host.features, host.hook_names, host.hooks_policy) == (["schedules", "hooks"], ["dump", "notify"], "server")
    assert (host.allows_restore_in_place, host.restore_directory, host.schedule_applied) == (True, "/var/restore", 7)


def test_an_ordered_backup_carries_the_whole_group_but_no_shell_text(connect, bus, vault, web1, group):
    Host.update(hooks_policy="server").where(Host.id == web1.id).execute()
    form = SourceGroupForm(
        name="files", includes=["/srv"], exclude_caches=True, tags=["daily"], upload_kib=512, pre_shell="mount /srv"
    )
    source_groups.save(bus, vault, host_id=web1.id, group_id=group, form=form, actor=ALICE, now=NOW)
    ws = connect(web1, **ABLE | {"features": ["schedules", "hooks"]})

    jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    order = ws.wait_for("command.run")
    assert (order.group.name, order.group.exclude_caches, order.group.tags) == ("files", True, ["daily"])
    assert (order.group.upload_kib_per_second, order.group.pre_shell, order.fired) == (512, "", None)
    assert order.group.repository_id == order.repository_id
    assert ws.wait_for("schedule.set").groups[0].pre_shell == "mount /srv"


def test_a_group_that_was_removed_after_a_backup_of_it_was_ordered_is_backed_up_as_ordered(connect, bus, web1, group):
    jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    source_groups.remove(bus, host_id=web1.id, group_id=group, actor=BOB, now=NOW)

    order = connect(web1, **ABLE).wait_for("command.run")

    assert (order.group, order.source_group, order.includes) == (None, "files", ["/srv/files"])


def test_a_schedule_that_is_removed_leaves_the_host_with_the_next_set(connect, bus, vault, web1, plan):
    schedule = plan()
    ws = connect(web1, **ABLE)
    ws.wait_for("schedule.set")

    schedules.remove(bus, vault, host_id=web1.id, schedule_id=schedule.id, actor=BOB, now=NOW)

    wait_until(lambda: ws.sent[-1].type == "schedule.set" and ws.sent[-1].payload.version == wanted(web1))
    assert ws.sent[-1].payload.schedules == []


# ---- runs that the host fired itself ----


def fired(host, due=NOW):
    return {
        "job_id": ids.ulid(int(due.timestamp() * 1000), 7), "kind": "backup", "source_group": "files",
        "schedule_id": "S1", "due_at": instants.to_text(due), "repository_id": cast.host_row(host).repository_id,
    }  # fmt: skip


def test_a_fired_run_is_followed_like_an_ordered_one(connect, web1, group):
    run = fired(web1)
    ws = connect(web1, **ABLE)
    early = LogLine(n=1, at=instants.to_text(NOW), stream="out", text="too early")

    ws.wait_for("error", id=ws.say(JobLog(job_id=run["job_id"], lines=[early])), code="unknown_job")
    ws.wait_for("ack", id=ws.say(JobStarted(command="restic backup", **run)))
    ws.say(JobProgress(job_id=run["job_id"], percent=50.0))
    ws.wait_for("ack", id=ws.say(JobLog(job_id=run["job_id"], lines=[replace(early, text="half of it")])))
    ws.wait_for("ack", id=ws.say(JobFinished(outcome="succeeded", **run)))

    [line] = JobLogLine.select()
    job = Job.get_by_id(run["job_id"])
    assert (line.text, job.outcome, job.command, job.progress["percent"]) == (
        "half of it", "succeeded", "restic backup", 50.0,
    )  # fmt: skip


def test_skipped_runs_are_acknowledged_once_they_are_kept(connect, web1, group):
    ws = connect(web1, **ABLE)
    at = instants.to_text(NOW)

    ws.wait_for(
        "ack",
        id=ws.say(
            RunsSkipped(source_group="files", schedule_id="S1", due_from=at, due_to=at, count=2, reason="asleep")
        ),
    )

    assert SkippedRun.get().count == 2


# ---- liveness ----


def test_a_host_that_only_reports_is_online_though_its_heartbeats_wait(connect, clock, web1, group):
    run = fired(web1)
    ws = connect(web1, **ABLE)
    ws.wait_for("ack", id=ws.say(JobStarted(**run)))
    lines = iter(range(1, 100))

    for _ in range(6):
        clock.now += timedelta(seconds=60)
        line = LogLine(n=next(lines), at=instants.to_text(NOW), stream="out", text="busy")
        ws.wait_for("ack", id=ws.say(JobLog(job_id=run["job_id"], lines=[line])))

    wait_until(lambda: cast.host_row(web1).last_seen_at == clock.now)
    assert stored_hosts.row(web1.id, now=clock.now + timedelta(seconds=60)).is_online


def test_progress_alone_is_a_sign_of_life(connect, clock, web1, group):
    run = fired(web1)
    ws = connect(web1, **ABLE)
    ws.wait_for("ack", id=ws.say(JobStarted(**run)))
    clock.now += timedelta(minutes=5)

    ws.say(JobProgress(job_id=run["job_id"], percent=50.0))

    wait_until(lambda: cast.host_row(web1).last_seen_at == clock.now)


def test_a_host_that_moves_to_another_time_zone_says_so_with_its_next_heartbeat(connect, web1, group):
    ws = connect(web1, timezone="Europe/Berlin", **ABLE)

    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=instants.to_text(NOW), timezone="Asia/Tokyo")))
    moved = cast.host_row(web1).timezone
    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=instants.to_text(NOW))))

    assert (moved, cast.host_row(web1).timezone) == ("Asia/Tokyo", "Asia/Tokyo")
