"""What the end of upkeep means for the repository, its alerts and the next turn."""

from rm.services import jobs
from rm.store.models import Alert, MaintenancePolicy, Repository, SourceGroup
from tests.cast import ALICE, BOB, NOW
from tests.services.maintenance.acting import DAY, HOUR, MINUTE, cast_id, end, next_of, only, policy, run, start, swept


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
