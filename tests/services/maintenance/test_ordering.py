"""Upkeep is ordered: when, where, with which retention, and why not."""

from dataclasses import replace

import pytest

from rm.domain import maintenance as rules
from rm.errors import Conflict, HostOffline
from rm.services import jobs, maintenance, maintenance_policies, repositories, schedule_outlook, source_groups
from rm.services.maintenance_outlook import outlook
from rm.services.maintenance_policies import DEFAULTS
from rm.services.repository_forms import MaintenanceForm
from rm.services.source_group_forms import form_of
from rm.store.models import Alert, Host, Job, MaintenancePolicy, Repository, SourceGroup
from tests.cast import ALICE, BOB, NOW
from tests.services.maintenance.acting import (
    DAY,
    HOUR,
    MINUTE,
    cast_id,
    disconnect,
    next_of,
    only,
    orders_for,
    policy,
    run,
    swept,
)


def retain(bus, vault, host, retention, *, now=NOW):
    """Give the host's group a retention, as a person would who means it."""
    group = SourceGroup.get(SourceGroup.host == host.id)
    form = replace(form_of(group), retention=retention)
    return source_groups.save(
        bus, vault, host_id=host.id, group_id=group.id, form=form, typed_name=group.name, actor=ALICE,
        now=now,
    )  # fmt: skip


def test_a_due_prune_is_ordered_with_its_time_box(bus, place):
    only(place, "prune")

    assert swept(bus, NOW + 6 * DAY) is None
    job = swept(bus, NOW + 7 * DAY)

    [order] = orders_for(bus, job.host_id, NOW + 7 * DAY)
    assert (order.kind, order.time_box_seconds, job.requested_by) == ("prune", 4 * 3600, "server")
    assert policy(place, "prune").last_job_id == job.id


def test_checks_read_all_data_over_time_and_only_success_moves_on(bus, place):
    only(place, "check")
    MaintenancePolicy.update(parts=3).execute()
    now, read = NOW, []

    for outcome in ("succeeded", "failed", "succeeded", "succeeded", "succeeded"):
        now += 7 * DAY
        job = swept(bus, now)
        read.append(job.parameters["subset"])
        run(bus, job, now, outcome=outcome)

    assert read == ["1/3", "2/3", "2/3", "3/3", "1/3"]
    assert policy(place, "check").round_started_at == now


def test_a_forget_goes_to_the_owner_with_its_own_retention_and_names(bus, vault, place, web1, db1):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_daily": 7, "keep_last": 0})

    job = swept(bus, NOW + DAY)

    [order] = orders_for(bus, web1.id, NOW + DAY)
    assert (job.host_id, order.hostname, order.source_group) == (web1.id, "web1", "files")
    assert order.parameters == {"retention": {"keep_daily": 7}, "restic_repository_id": "ab" * 32}


def test_another_host_forgets_for_an_owner_that_is_away(bus, vault, place, web1, db1):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_daily": 7})
    disconnect("web1")

    job = swept(bus, NOW + DAY)

    [order] = orders_for(bus, db1.id, NOW + DAY)
    assert (job.host_id, order.hostname, order.source_group) == (db1.id, "web1", "files")


@pytest.mark.parametrize("other", [{"name": "files"}, {"name": "mail", "tags": ["files"]}])
def test_snapshots_that_two_hosts_could_call_theirs_are_not_forgotten_and_the_page_says_why(
    bus, vault, place, web1, db1, other
):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_last": 1})
    Host.update(hostname="web1").where(Host.id == db1.id).execute()
    SourceGroup.delete().where(SourceGroup.host == db1.id).execute()
    SourceGroup.create(id="B" * 26, host=db1.id, includes=["/m"], created_at=NOW, changed_at=NOW, **other)

    assert swept(bus, NOW + DAY) is None
    decision = next_of(place, "forget", NOW + DAY)
    assert decision.code == rules.BLOCKED
    assert "nothing of files on web1 is forgotten: db1 has the hostname web1 too" in decision.text
    group_id = SourceGroup.get(SourceGroup.host == web1.id).id
    [hint] = schedule_outlook.hints_of_groups(web1.id, now=NOW)[group_id][1:]
    assert hint.startswith("Nothing of it is forgotten: db1 has the hostname web1 too")
    with pytest.raises(Conflict, match="hostname web1 too"):
        maintenance.run_now(bus, repository_id=place, kind="forget", actor=BOB, now=NOW + DAY)


def test_groups_in_doubt_do_not_keep_the_others_from_being_forgotten(bus, vault, place, web1, db1):
    only(place, "forget")
    Host.update(hostname="web1").where(Host.id == db1.id).execute()
    SourceGroup.create(id="B" * 26, host=db1.id, name="mail", includes=["/m"], created_at=NOW, changed_at=NOW)
    SourceGroup.create(id="C" * 26, host=db1.id, name="files", includes=["/m"], created_at=NOW, changed_at=NOW)
    SourceGroup.update(retention={"keep_last": 3}).execute()

    job = swept(bus, NOW + DAY)

    assert job.source_group == "mail"
    [found] = [one for one in outlook(place, now=NOW + DAY) if one.policy.kind == "forget"]
    assert found.groups == 1 and "files on" in found.note and "(and 1 more group)" in found.note


def test_a_host_that_came_back_under_a_new_name_rules_what_its_revoked_self_had_made(bus, vault, place, web1, db1):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_last": 1})
    Host.update(hostname="web1").where(Host.id == db1.id).execute()
    SourceGroup.create(
        id="C" * 26, host=db1.id, name="files", includes=["/m"], created_at=NOW, changed_at=NOW,
        retention={"keep_daily": 7},
    )  # fmt: skip
    Host.update(revoked_at=NOW, connected_at=None).where(Host.id == web1.id).execute()

    job = swept(bus, NOW + DAY)

    assert job.parameters["retention"] == {"keep_daily": 7}
    assert swept(bus, NOW + DAY + MINUTE) is None


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_forget_that_was_ordered_by_an_older_retention_does_not_go_on(bus, vault, place, web1, is_sent):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_last": 1})
    job = swept(bus, NOW + DAY)
    if is_sent:
        orders_for(bus, web1.id, NOW + DAY)

    retain(bus, vault, web1, {"keep_daily": 7}, now=NOW + DAY)

    found = Job.get_by_id(job.id)
    assert (found.outcome, found.cancel_requested_at) == ((None, NOW + DAY) if is_sent else ("cancelled", None))
    assert policy(place, "forget").last_ended_at is None


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_alert_of_a_failed_forget_ends_with_the_retention_that_it_was_about(bus, vault, place, web1, is_removed):
    only(place, "forget")
    group = retain(bus, vault, web1, {"keep_last": 1})
    run(bus, swept(bus, NOW + DAY), NOW + DAY, outcome="failed", reason="unreachable", message="No route.")
    assert Alert.get(Alert.kind == "forget_failed").state == "raised"

    if is_removed:
        source_groups.remove(bus, host_id=web1.id, group_id=group.id, actor=ALICE, now=NOW + 2 * DAY)
    else:
        retain(bus, vault, web1, {"keep_last": 2}, now=NOW + 2 * DAY)

    assert Alert.get(Alert.kind == "forget_failed").state == "resolved"


def test_a_forget_of_a_group_that_is_removed_does_not_go_out(bus, vault, place, web1):
    only(place, "forget")
    group = retain(bus, vault, web1, {"keep_last": 1})
    job = swept(bus, NOW + DAY)

    source_groups.remove(bus, host_id=web1.id, group_id=group.id, actor=ALICE, now=NOW + DAY)

    assert Job.get_by_id(job.id).outcome == "cancelled"


def test_an_agent_that_cannot_forget_is_not_asked_to(bus, vault, place, web1):
    only(place, "forget")
    retain(bus, vault, web1, {"keep_daily": 7})
    Host.update(features=[]).execute()

    assert swept(bus, NOW + DAY) is None
    assert next_of(place, "forget", NOW + DAY).code == rules.NO_AGENT


def test_groups_are_forgotten_one_after_the_other_the_longest_waiting_first(bus, vault, place, web1, db1):
    only(place, "forget")
    group = SourceGroup.get(SourceGroup.host == web1.id)
    SourceGroup.create(id="B" * 26, host=db1.id, name="mail", includes=["/m"], created_at=NOW, changed_at=NOW)
    SourceGroup.update(retention={"keep_last": 3}).execute()
    SourceGroup.update(forgotten_at=NOW - 2 * DAY).where(SourceGroup.id == group.id).execute()
    now = NOW + DAY

    first = swept(bus, now)
    assert swept(bus, now + MINUTE) is None
    run(bus, first, now, summary={"removed": 2, "kept": 3})
    second = swept(bus, now + HOUR)

    assert (first.source_group, second.source_group) == ("files", "mail")
    assert SourceGroup.get_by_id(group.id).forgotten_at == now + 10 * MINUTE


def test_one_lease_per_repository_across_its_hosts(bus, place):
    only(place, "prune")
    jobs.order(bus, host_id=cast_id("db1"), kind="check", actor=BOB, now=NOW + 8 * DAY)

    assert swept(bus, NOW + 8 * DAY) is None
    assert next_of(place, "prune", NOW + 8 * DAY).code == rules.LEASE


def test_nothing_is_ordered_beside_a_restore_and_backups_go_first(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    with_restore = jobs.queue(bus, host=Host.get(Host.name == "db1"), kind="restore", actor=BOB, now=now)

    assert swept(bus, now) is None
    assert next_of(place, "prune", now).code == rules.RESTORE
    Job.update(kind="backup").where(Job.id == with_restore.id).execute()
    assert swept(bus, now) is None
    assert next_of(place, "prune", now).code == rules.BACKUPS
    run(bus, with_restore, now)
    assert swept(bus, now + 11 * MINUTE).kind == "prune"


def test_a_job_that_waits_for_a_host_that_is_away_holds_nothing_up(bus, place):
    only(place, "prune")
    jobs.order(bus, host_id=cast_id("db1"), kind="check", actor=BOB, now=NOW + 7 * DAY)
    disconnect("db1")

    assert swept(bus, NOW + 7 * DAY).host_id == cast_id("web1")


def test_with_no_host_connected_it_waits_and_says_since_when(bus, place):
    only(place, "prune")
    disconnect("web1", "db1")

    assert swept(bus, NOW + 7 * DAY) is None
    decision = next_of(place, "prune", NOW + 7 * DAY)
    assert (decision.text, decision.at) == ("no host that uses it is connected", NOW)


def test_append_only_without_a_maintenance_credential_deletes_nothing_and_says_why(bus, vault, place):
    only(place, "prune")
    Repository.update(is_append_only=True).execute()

    assert swept(bus, NOW + 7 * DAY) is None
    assert "needs a maintenance credential" in next_of(place, "prune", NOW).text
    repositories.set_maintenance(
        bus, vault, repository_id=place, form=MaintenanceForm(username="keeper", secret="s"), is_append_only=True,
        actor=ALICE, now=NOW,
    )  # fmt: skip
    assert swept(bus, NOW + 7 * DAY).kind == "prune"


def test_a_repository_that_was_replaced_is_left_alone(bus, place):
    Repository.update(restic_id_seen="cd" * 32).execute()

    assert swept(bus, NOW + 30 * DAY) is None


def test_run_now_needs_neither_cadence_nor_window_and_pressing_twice_orders_once(bus, place):
    form = replace(DEFAULTS["prune"], window_from="01:00", window_to="02:00")
    maintenance_policies.save(bus, repository_id=place, kind="prune", form=form, actor=ALICE, now=NOW)

    [job] = maintenance.run_now(bus, repository_id=place, kind="prune", actor=BOB, now=NOW)
    again = maintenance.run_now(bus, repository_id=place, kind="prune", actor=BOB, now=NOW)

    assert [one.id for one in again] == [job.id]
    assert (job.requested_by, job.parameters["time_box_seconds"]) == ("bob", 4 * 3600)


def test_run_now_says_why_it_cannot(bus, place):
    with pytest.raises(Conflict, match="everything is kept"):
        maintenance.run_now(bus, repository_id=place, kind="forget", actor=BOB, now=NOW)
    disconnect("web1", "db1")
    with pytest.raises(HostOffline, match="None of the 2 hosts"):
        maintenance.run_now(bus, repository_id=place, kind="check", actor=BOB, now=NOW)
