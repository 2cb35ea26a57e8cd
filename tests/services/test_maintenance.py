"""Repositories that are kept in order: what is ordered when, what its end means, and who gives way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.domain import maintenance as rules
from rm.errors import Conflict, HostOffline, Invalid
from rm.services import (
    jobs,
    maintenance,
    maintenance_policies,
    repositories,
    schedule_outlook,
    source_groups,
    verdicts,
)
from rm.services.maintenance_outlook import outlook
from rm.services.maintenance_policies import DEFAULTS
from rm.services.repository_forms import MaintenanceForm
from rm.services.source_group_forms import form_of
from rm.shared import instants
from rm.shared.protocol import CommandRun, GroupState, JobFinished, JobStarted, RepositoryStats
from rm.store import maintenance as store
from rm.store.models import (
    Alert,
    AuditEntry,
    Host,
    Job,
    MaintenancePolicy,
    Repository,
    RepositoryDay,
    SourceGroup,
)
from tests import cast
from tests.cast import ALICE, BOB, NOW

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
FEATURES = ["forget", "time_box"]


@pytest.fixture
def place(bus, vault, web1, db1):
    """A repository that web1 and db1 use, both connected; nothing of it is due before tomorrow."""
    cast.give_repository(bus, vault, web1)
    repository_id = cast.host_row(web1).repository_id
    repositories.use_existing_for_host(bus, host_id=db1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    Repository.update(restic_repository_id="ab" * 32).where(Repository.id == repository_id).execute()
    connect(NOW)
    return repository_id


def connect(now, *names):
    """These hosts, or all, are connected and were heard of just now."""
    query = Host.update(connected_at=now, last_seen_at=now, restic_version="0.14.0", features=FEATURES)
    (query.where(Host.name.in_(names)) if names else query).execute()


def disconnect(*names):
    Host.update(connected_at=None).where(Host.name.in_(names)).execute()


def retain(bus, vault, host, retention, *, now=NOW):
    """Give the host's group a retention, as a person would who means it."""
    group = SourceGroup.get(SourceGroup.host == host.id)
    form = replace(form_of(group), retention=retention)
    return source_groups.save(
        bus, vault, host_id=host.id, group_id=group.id, form=form, typed_name=group.name, actor=ALICE,
        now=now,
    )  # fmt: skip


def only(repository_id, kind):
    """Switch the other kinds off."""
    MaintenancePolicy.update(is_enabled=False).where(
        MaintenancePolicy.repository == repository_id, MaintenancePolicy.kind != kind
    ).execute()


def swept(bus, now):
    """The job that a sweep ordered, after every host gave a sign of life."""
    Host.update(last_seen_at=now).where(Host.connected_at.is_null(False)).execute()
    before = {job.id for job in Job.select(Job.id)}
    maintenance.sweep(bus, now=now)
    made = [job for job in Job.select() if job.id not in before]
    assert len(made) <= 1
    return made[0] if made else None


def run(bus, job, now, *, took=10 * MINUTE, outcome="succeeded", **more):
    """The agent carries the job out."""
    start(bus, job, now)
    end(bus, job, now + took, outcome=outcome, **more)


def start(bus, job, now):
    assert [order.job_id for order in orders_for(bus, job.host_id, now)] == [job.id]
    report = JobStarted(job_id=job.id, started_at=instants.to_text(now), command=f"restic {job.kind}")
    jobs.started(bus, host_id=job.host_id, report=report, now=now)


def end(bus, job, now, *, outcome="succeeded", reason="", message="", summary=None):
    report = JobFinished(
        job_id=job.id, outcome=outcome, finished_at=instants.to_text(now), exit_code=0, reason=reason,
        message=message, summary=summary or {},
    )  # fmt: skip
    jobs.finished(bus, host_id=job.host_id, report=report, now=now)


def orders_for(bus, host_id, now):
    return [order for order in jobs.next_orders(host_id=host_id, now=now, bus=bus) if isinstance(order, CommandRun)]


def policy(repository_id, kind):
    return store.get(repository_id, kind)


def next_of(repository_id, kind, now):
    return next(one.decision for one in outlook(repository_id, now=now) if one.policy.kind == kind)


# ---- what holds until somebody decides otherwise ----


def test_a_new_repository_is_forgotten_daily_and_pruned_and_checked_weekly(place):
    kept = {one.kind: (one.is_enabled, one.every_hours, one.parts) for one in store.list_policies(place)}

    assert kept == {"forget": (True, 24, 0), "prune": (True, 168, 0), "check": (True, 168, 12)}


def test_a_repository_from_before_gets_its_policies_with_the_first_sweep(bus, place):
    MaintenancePolicy.delete().execute()

    maintenance.sweep(bus, now=NOW)

    assert {one.kind for one in store.list_policies(place)} == set(rules.KINDS)


def test_without_a_retention_nothing_is_ever_forgotten(bus, place):
    only(place, "forget")

    assert swept(bus, NOW + 30 * DAY) is None
    assert (
        next_of(place, "forget", NOW).text == "no source group that backs up here has a retention: everything is kept"
    )


def test_a_retention_that_means_nothing_never_goes_out(bus, place):
    only(place, "forget")
    SourceGroup.update(retention={"keep_daily": 0}).execute()

    assert swept(bus, NOW + 30 * DAY) is None


# ---- people decide ----


def test_a_policy_is_saved_audited_and_told(bus, place):
    form = replace(DEFAULTS["prune"], every_hours=24, window_from="22:00", window_to="06:00", timezone="Europe/Berlin")

    maintenance_policies.save(bus, repository_id=place, kind="prune", form=form, actor=ALICE, now=NOW)

    entry = AuditEntry.get(AuditEntry.action == "maintenance.changed")
    assert maintenance_policies.form_of(policy(place, "prune")) == form
    assert (entry.payload["before"]["every_hours"], entry.payload["after"]["every_hours"]) == (168, 24)


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        ("prune", {"every_hours": 0}, "every_hours"),
        ("prune", {"box_minutes": 0}, "box_minutes"),
        ("check", {"parts": 257}, "parts"),
        ("check", {"parts": -1}, "parts"),
        ("prune", {"parts": 3}, "parts"),
        ("prune", {"window_from": "22:00"}, "window_to"),
        ("prune", {"window_from": "22:00", "window_to": "22:05"}, "window_to"),
        ("prune", {"timezone": "Nowhere"}, "timezone"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(bus, place, kind, wrong, field):
    with pytest.raises(Invalid) as refused:
        maintenance_policies.save(
            bus, repository_id=place, kind=kind, form=replace(DEFAULTS[kind], **wrong), actor=ALICE, now=NOW
        )

    assert list(refused.value.fields) == [field]


# ---- ordering ----


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


# ---- how it ends ----


def test_a_success_is_kept_with_the_repository_and_the_next_is_due_a_cadence_later(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    run(bus, swept(bus, now), now, message="The repository was pruned: 3 MiB freed.")

    kept = policy(place, "prune")
    assert Repository.get_by_id(place).pruned_at == now + 10 * MINUTE
    assert (kept.last_outcome, kept.last_message) == ("succeeded", "The repository was pruned: 3 MiB freed.")
    assert next_of(place, "prune", now + HOUR).at == now + 7 * DAY


def test_a_failure_raises_an_alert_is_tried_again_later_and_later_and_success_clears_it(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    waits = []
    for _ in range(3):
        run(bus, swept(bus, now), now, took=MINUTE, outcome="failed", reason="unreachable", message="No route.")
        due = next_of(place, "prune", now + MINUTE).at
        waits.append(due - now - MINUTE)
        assert swept(bus, due - MINUTE) is None
        now = due

    alert = Alert.get(Alert.kind == "prune_failed")
    assert waits == [15 * MINUTE, 30 * MINUTE, HOUR]
    assert (alert.state, alert.count, alert.repository_id) == ("raised", 3, place)
    assert "No route." in alert.message
    run(bus, swept(bus, now), now)
    assert Alert.get_by_id(alert.id).state == "resolved"


def test_a_failed_forget_is_the_groups_own_and_others_go_on(bus, vault, place, web1, db1):
    only(place, "forget")
    SourceGroup.create(id="B" * 26, host=db1.id, name="mail", includes=["/m"], created_at=NOW, changed_at=NOW)
    SourceGroup.update(retention={"keep_last": 3}).execute()
    now = NOW + DAY
    first = swept(bus, now)
    run(bus, first, now, took=MINUTE, outcome="failed", reason="locked", message="Locked.")

    second = swept(bus, now + 2 * MINUTE)

    alert = Alert.get(Alert.kind == "forget_failed")
    assert {first.source_group, second.source_group} == {"files", "mail"}
    assert (alert.condition, alert.host_id) == (f"group:{first.parameters['group_id']}", first.host_id)


def test_damage_stays_told_until_the_same_part_is_read_without_any(bus, place):
    only(place, "check")
    MaintenancePolicy.update(is_enabled=True).where(MaintenancePolicy.kind == "prune").execute()
    MaintenancePolicy.update(parts=3, next_part=2).where(MaintenancePolicy.kind == "check").execute()
    now = NOW + 7 * DAY
    MaintenancePolicy.update(last_started_at=now, last_ended_at=now, last_outcome="succeeded").where(
        MaintenancePolicy.kind == "prune"
    ).execute()
    run(bus, swept(bus, now), now, outcome="failed", reason="repository_damaged", message="Errors.")
    assert Repository.get_by_id(place).check_ok is False

    structure = jobs.order(bus, host_id=cast_id("web1"), kind="check", actor=BOB, now=now + 11 * MINUTE)
    run(bus, structure, now + 11 * MINUTE, took=MINUTE)

    assert Repository.get_by_id(place).check_ok is False
    assert Alert.get(Alert.kind == "check_failed").state == "raised"
    assert "nothing is deleted" in next_of(place, "prune", now + 8 * DAY).text
    again = swept(bus, now + 8 * DAY)
    assert again.parameters["subset"] == "2/3"
    run(bus, again, now + 8 * DAY)
    assert Repository.get_by_id(place).check_ok is True
    assert Alert.get(Alert.kind == "check_failed").state == "resolved"


def test_the_time_boxs_end_is_a_failure_that_says_so(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    run(bus, swept(bus, now), now, took=4 * HOUR, outcome="cancelled", reason="time_box", message="Its time was over.")

    assert policy(place, "prune").last_outcome == "time_box"
    assert "time box" in Alert.get(Alert.kind == "prune_failed").message


def test_a_persons_cancel_raises_no_alert_and_is_not_undone_at_once(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    jobs.cancel(bus, job_id=job.id, actor=ALICE, now=now + MINUTE)
    end(bus, job, now + 2 * MINUTE, outcome="cancelled", reason="cancelled", message="Cancelled.")

    assert Alert.select().count() == 0
    assert next_of(place, "prune", now + HOUR).at == now + 2 * MINUTE + 6 * HOUR


def test_what_a_person_runs_counts_for_the_cadence_too(bus, place):
    only(place, "prune")
    now = NOW + 3 * DAY
    run(bus, jobs.order(bus, host_id=cast_id("web1"), kind="prune", actor=BOB, now=now), now)

    assert next_of(place, "prune", now + HOUR).at == now + 7 * DAY


# ---- giving way ----


def backup_waits(bus, host, now, *, ago):
    """A backup that the host's own schedule started, and that waits for restic's lock."""
    job = jobs.queue(bus, host=Host.get(Host.name == host), kind="backup", source_group="files", actor=BOB, now=now)
    Job.update(
        state="running", dispatched_at=now - ago, started_at=now - ago, progress={"phase": "waiting"}, last_sign_at=now
    ).where(Job.id == job.id).execute()
    return job


def test_a_prune_gives_way_to_waiting_backups_three_times_and_then_runs_to_its_end(bus, place):
    only(place, "prune")
    now, gave_way = NOW + 7 * DAY, []
    for _ in range(4):
        job = swept(bus, now)
        start(bus, job, now)
        backup = backup_waits(bus, "web1" if job.host.name == "db1" else "db1", now + 5 * MINUTE, ago=2 * MINUTE)
        assert swept(bus, now + 5 * MINUTE) is None
        job = Job.get_by_id(job.id)
        gave_way.append(job.cancel_requested_by)
        if job.cancel_requested_at is None:
            break
        end(bus, job, now + 6 * MINUTE, outcome="cancelled", reason="cancelled", message="Cancelled.")
        end(bus, backup, now + 7 * MINUTE)
        assert policy(place, "prune").last_message.startswith("Gave way to the backup of ")
        assert swept(bus, now + 15 * MINUTE) is None
        now += 16 * MINUTE

    assert gave_way == ["server", "server", "server", ""]
    assert policy(place, "prune").yields == 3
    assert Alert.select().count() == 0


def test_a_prune_gives_way_to_an_ordered_backup_that_waits_for_its_turn(bus, place, web1, db1):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    other = web1 if job.host_id == db1.id else db1
    jobs.queue(bus, host=Host.get_by_id(other.id), kind="backup", source_group="files", actor=BOB, now=now + MINUTE)
    assert orders_for(bus, other.id, now + MINUTE) == []

    swept(bus, now + 90 * timedelta(seconds=1))
    assert Job.get_by_id(job.id).cancel_requested_at is None
    swept(bus, now + 3 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"


def test_a_prune_gives_way_to_a_scheduled_backup_that_waits_in_the_agent_that_prunes(bus, place):
    only(place, "prune")
    disconnect("db1")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    for job_id, code in (("01JDOTHER", "waiting"), (job.id, "idle"), (job.id, "waiting")):
        why = f"Waits for the end of the prune (job {job_id})."
        said = GroupState(source_group="files", code=code, why=why)
        verdicts.reported(bus, host_id=job.host_id, groups=[said], now=now + MINUTE)
        before = Job.get_by_id(job.id).cancel_requested_by

        swept(bus, now + 3 * MINUTE)

    assert before == "", "nothing waited for this one until then"
    assert Job.get_by_id(job.id).cancel_requested_by == "server"
    assert policy(place, "prune").last_message == f"Gave way to the backup of {job.host.name}."


def test_a_prune_that_was_asked_to_give_way_within_its_box_did_so_even_if_it_ended_after_it(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    box = timedelta(seconds=job.parameters["time_box_seconds"])
    asked = now + box - timedelta(seconds=5)
    backup_waits(bus, "web1" if job.host.name == "db1" else "db1", asked, ago=2 * MINUTE)
    swept(bus, asked)

    end(bus, job, now + box + timedelta(seconds=5), outcome="cancelled", reason="cancelled", message="Cancelled.")

    assert (policy(place, "prune").last_outcome, policy(place, "prune").yields) == ("gave_way", 1)
    assert Alert.select().count() == 0


def test_a_restore_never_waits_for_a_prune_however_often_that_gave_way(bus, place, db1, web1):
    only(place, "prune")
    MaintenancePolicy.update(yields=9).execute()
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    other = "web1" if job.host_id == db1.id else "db1"
    jobs.queue(bus, host=Host.get(Host.name == other), kind="restore", actor=BOB, now=now)

    swept(bus, now + 2 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"


def test_what_a_person_ordered_by_hand_is_left_alone(bus, place):
    job = jobs.order(bus, host_id=cast_id("db1"), kind="prune", actor=BOB, now=NOW)
    start(bus, job, NOW)
    backup_waits(bus, "web1", NOW + 5 * MINUTE, ago=4 * MINUTE)

    swept(bus, NOW + 5 * MINUTE)

    assert Job.get_by_id(job.id).cancel_requested_at is None


def test_a_job_past_its_time_box_is_ended_from_here_when_its_agent_does_not(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)

    swept(bus, now + 4 * HOUR)
    assert Job.get_by_id(job.id).cancel_requested_at is None
    swept(bus, now + 4 * HOUR + 6 * MINUTE)
    end(bus, job, now + 4 * HOUR + 7 * MINUTE, outcome="cancelled", reason="cancelled")

    assert policy(place, "prune").last_outcome == "time_box"


def test_a_job_whose_host_went_before_it_was_sent_is_given_to_another(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    first = swept(bus, now)
    disconnect(first.host.name)

    assert swept(bus, now + 5 * MINUTE) is None
    second = swept(bus, now + 11 * MINUTE)

    assert second.host_id != first.host_id
    assert Job.get_by_id(first.id).outcome == "cancelled"
    assert policy(place, "prune").last_ended_at is None


def test_a_job_that_did_not_get_its_turn_within_the_window_is_taken_back(bus, place):
    only(place, "prune")
    MaintenancePolicy.update(window_from="12:00", window_to="14:00").execute()
    job = swept(bus, NOW + 7 * DAY)

    assert swept(bus, NOW + 7 * DAY + 2 * HOUR) is None

    assert Job.get_by_id(job.id).outcome == "cancelled"
    assert next_of(place, "prune", NOW + 7 * DAY + 3 * HOUR).at == NOW + 8 * DAY


def test_however_many_are_due_at_once_each_has_its_turn(bus, place):
    for number in range(5):
        other = Repository.create(
            id=f"R{number}" * 13, name=f"other {number}", location="/srv", password_sealed=b"x",
            restic_repository_id="cd" * 32, created_at=NOW, changed_at=NOW,
        )  # fmt: skip
        maintenance_policies.ensure(repository_id=other.id, now=NOW)
        Host.create(
            id=f"H{number}" * 13, name=f"other{number}", hostname="other", os="linux", arch="amd64", enrolled_at=NOW,
            repository=other.id, connected_at=NOW, last_seen_at=NOW + 8 * DAY, restic_version="0.14.0",
        )  # fmt: skip
    Host.update(last_seen_at=NOW + 8 * DAY).execute()

    after = maintenance.sweep(bus, now=NOW + 8 * DAY, most=4)
    assert after
    assert Job.select().count() == 4
    maintenance.sweep(bus, now=NOW + 8 * DAY, after=after, most=4)

    assert Job.select(Job.repository).distinct().count() == 6


def test_who_is_kept_waiting_does_not_wait_for_the_turn_of_many_others(bus, place):
    only(place, "prune")
    now = NOW + 7 * DAY
    job = swept(bus, now)
    start(bus, job, now)
    backup_waits(bus, "web1" if job.host.name == "db1" else "db1", now + 5 * MINUTE, ago=2 * MINUTE)

    maintenance.sweep(bus, now=now + 5 * MINUTE, most=0)

    assert Job.get_by_id(job.id).cancel_requested_by == "server"


# ---- at once ----


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


# ---- size over time ----


def test_one_row_a_day_keeps_the_last_figures_of_that_day(bus, place, web1):
    def report(now, **figures):
        stats = RepositoryStats(repository_id=place, restic_repository_id="ab" * 32, **figures)
        repositories.keep_stats(bus, host_id=web1.id, stats=stats, now=now)

    report(NOW, total_bytes=100, snapshot_count=1)
    report(NOW + HOUR, snapshot_count=2)
    report(NOW + DAY, total_bytes=200)

    days = [
        (row.day, row.total_bytes, row.snapshot_count) for row in RepositoryDay.select().order_by(RepositoryDay.day)
    ]
    assert days == [("2026-11-23", 100, 2), ("2026-11-24", 200, None)]


def test_figures_of_another_repository_are_no_figures_of_this_one(bus, place, web1):
    stats = RepositoryStats(repository_id=place, restic_repository_id="cd" * 32, total_bytes=5)

    repositories.keep_stats(bus, host_id=web1.id, stats=stats, now=NOW)

    assert RepositoryDay.select().count() == 0


def cast_id(name):
    return Host.get(Host.name == name).id
