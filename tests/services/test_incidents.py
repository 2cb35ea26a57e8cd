"""Alerts of one cause are one incident, and people are told of it once: each case on a clock that only tests move."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid
from rm.services import alert_sweep, alerts, hosts, incidents
from rm.services.alert_settings import RulesForm
from rm.services.alert_settings import save as save_rules
from rm.store import database
from rm.store import incidents as rows
from rm.store.database import changes
from rm.store.incidents import Wanted
from rm.store.models import Alert, AlertEvent, AlertWait, AuditEntry, Incident
from tests import cast
from tests.cast import ALICE, BOB, NOW
from tests.services.told import Told

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr("rm.services.incident_events.deliveries", found)
    return found


def failed(bus, condition="group:1", *, at=NOW, kind="backup_failed", cause="", host=None, message="No."):
    return alerts.raise_alert(
        bus, kind=kind, condition=condition, message=message, now=at, cause=cause, host_id=host.id if host else None
    )


def over(bus, condition="group:1", *, at=NOW + HOUR, kind="backup_failed"):
    return alerts.clear(bus, kind=kind, condition=condition, note="It ran.", now=at)


def the_incident() -> Incident:
    return Incident.get()


def timeline() -> list[str]:
    return [event.kind for event in AlertEvent.select().order_by(AlertEvent.id)]


# ---- one condition ----


def test_a_failure_is_told_once_and_its_recovery_once(bus, told):
    for night in range(5):
        failed(bus, at=NOW + night * DAY)
    over(bus, at=NOW + 5 * DAY)
    over(bus, at=NOW + 6 * DAY)

    assert told.kinds == ["raised", "resolved"]
    assert Alert.get().count == 5
    assert (the_incident().state, the_incident().open_count, the_incident().alert_count) == ("resolved", 0, 1)
    assert timeline() == ["raised", "again", "again", "again", "again", "resolved"]


def test_late_then_missed_then_recovered_is_one_incident_that_got_worse(bus, told):
    failed(bus, kind="backup_late")
    failed(bus, kind="backup_missed", at=NOW + DAY)
    over(bus, kind="backup_late", at=NOW + DAY)
    before = the_incident()
    over(bus, kind="backup_missed", at=NOW + 2 * DAY)

    assert told.kinds == ["raised", "worsened", "resolved"]
    assert (before.severity, before.state, before.kind) == ("critical", "raised", "backup_missed")
    assert Incident.select().count() == 1


def test_the_next_failure_after_a_recovery_is_a_new_incident(bus, told):
    failed(bus)
    over(bus)
    failed(bus, at=NOW + DAY)

    assert told.kinds == ["raised", "resolved", "raised"]
    assert Incident.select().count() == 2


def test_what_is_rolled_back_leaves_nothing_and_nobody_is_told_after(bus):
    with pytest.raises(RuntimeError), changes():
        failed(bus)
        raise RuntimeError

    assert (Alert.select().count(), Incident.select().count(), AlertEvent.select().count()) == (0, 0, 0)


def test_an_alert_that_is_seen_all_day_keeps_a_short_timeline(bus):
    for minute in range(100):
        failed(bus, at=NOW + minute * MINUTE)

    assert Alert.get().count == 100
    assert AlertEvent.select().count() == alerts.SIGHTINGS_TOLD


# ---- many conditions, one cause ----


def test_forty_hosts_that_lose_one_repository_are_one_incident(bus, told):
    for number in range(40):
        failed(bus, f"group:{number}", cause="shared:9", at=NOW + number * MINUTE)
    during = the_incident()
    for number in range(40):
        over(bus, f"group:{number}", at=NOW + DAY + number * MINUTE)

    assert told.kinds == ["raised", "resolved"]
    assert (during.alert_count, during.open_count) == (40, 40)
    assert (the_incident().open_count, the_incident().state) == (0, "resolved")


def test_an_alert_of_which_the_cause_turns_out_to_be_another_moves_there(bus, told):
    failed(bus, cause="shared:9")
    failed(bus, "group:2", cause="shared:9")
    failed(bus, at=NOW + DAY, message="The disk of the host is full.")

    repository, own = Incident.select().order_by(Incident.opened_at)
    assert (repository.open_count, own.open_count, own.cause) == (1, 1, "backup/group:1")
    assert Alert.get(Alert.condition == "group:1").incident_id == own.id
    assert told.kinds == ["raised", "raised"]


def test_who_acknowledged_an_incident_has_acknowledged_what_joins_it(bus, told):
    failed(bus, cause="shared:9")
    incidents.acknowledge(bus, incident_id=the_incident().id, actor=BOB, now=NOW)
    failed(bus, "group:2", cause="shared:9", at=NOW + MINUTE)

    assert [(one.state, one.acknowledged_by) for one in Alert.select()] == [("acknowledged", "bob")] * 2
    assert told.kinds == ["raised", "acknowledged"]
    assert rows.count_needing(NOW) == 0


def test_what_gets_worse_asks_for_somebody_again_though_it_was_acknowledged_and_snoozed(bus, told):
    failed(bus, kind="backup_late")
    incidents.acknowledge(bus, incident_id=the_incident().id, actor=BOB, now=NOW)
    incidents.snooze(bus, incident_id=the_incident().id, choice="7d", actor=BOB, now=NOW)
    failed(bus, kind="backup_missed", at=NOW + DAY)

    assert (the_incident().state, the_incident().snoozed_until) == ("raised", None)
    assert rows.count_needing(NOW + DAY) == 1
    assert Alert.select().where(Alert.snoozed_until.is_null(False)).count() == 0
    assert told.kinds == ["raised", "acknowledged", "worsened"]


def test_a_host_that_is_removed_takes_its_alerts_out_of_the_incident_of_many(bus, web1, db1):
    failed(bus, "group:1", cause="shared:9", host=web1)
    failed(bus, "group:2", cause="shared:9", host=db1)
    failed(bus, "host:1", kind="agent_offline", cause=f"host:{web1.id}", host=web1, at=NOW)
    hosts.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)

    assert (the_incident().open_count, the_incident().state) == (1, "raised")
    assert [one.host_id for one in Alert.select()] == [db1.id]
    assert AlertWait.select().count() == 0


# ---- what comes and goes ----


def offline(bus, at, since):
    return alerts.raise_alert(
        bus, kind="agent_offline", condition="host:1", message="Silent.", now=at, since=since, cause="host:1"
    )


def test_what_is_over_within_its_patience_is_never_told(bus, told):
    assert offline(bus, NOW, NOW - 5 * MINUTE) is None
    over(bus, "host:1", kind="agent_offline", at=NOW + 2 * MINUTE)
    alert_sweep.sweep(bus, now=NOW + DAY)

    assert (told.kinds, Alert.select().count(), AlertWait.select().count()) == ([], 0, 0)


def test_what_outlasts_its_patience_is_raised_by_time_alone_since_it_began(bus, told):
    offline(bus, NOW, NOW - 5 * MINUTE)
    alert_sweep.sweep(bus, now=NOW + 9 * MINUTE)
    early = told.kinds
    alert_sweep.sweep(bus, now=NOW + 10 * MINUTE)

    assert (early, told.kinds) == ([], ["raised"])
    assert Alert.get().first_seen_at == NOW - 5 * MINUTE
    assert AlertWait.select().count() == 0


def test_a_host_that_goes_up_and_down_all_day_is_told_once_and_so_is_its_end(bus, told):
    at = NOW
    for _ in range(20):
        offline(bus, at, at - 20 * MINUTE)
        over(bus, "host:1", kind="agent_offline", at=at + 5 * MINUTE)
        alert_sweep.sweep(bus, now=at + 10 * MINUTE)
        at += 12 * MINUTE
    during = told.kinds
    alert_sweep.sweep(bus, now=at + HOUR)
    alert_sweep.sweep(bus, now=at + DAY)

    assert (during, told.kinds) == (["raised"], ["raised", "resolved"])
    assert (Incident.select().count(), Alert.get().count) == (1, 20)
    assert timeline().count("reopened") == 19


def test_while_the_server_has_only_begun_to_listen_no_patience_ends(bus, told):
    offline(bus, NOW, NOW - 5 * MINUTE)
    alert_sweep.sweep(bus, now=NOW + DAY, is_settled=False)

    assert told.kinds == []


def test_changed_rules_and_tags_hold_for_what_waits_already(bus, web1, told):
    form = RulesForm(by_tag=[("laptop", "agent_offline", "24 h")])
    hosts.set_tags(bus, host_id=web1.id, tags=("laptop",), actor=ALICE, now=NOW)
    save_rules(bus, form=form, actor=ALICE, now=NOW)
    alerts.raise_alert(
        bus, kind="agent_offline", condition="x", message="S.", now=NOW, since=NOW - HOUR, host_id=web1.id
    )
    patient = AlertWait.get().due_at
    hosts.set_tags(bus, host_id=web1.id, tags=(), actor=ALICE, now=NOW)
    alert_sweep.sweep(bus, now=NOW)

    assert patient == NOW + 23 * HOUR
    assert told.kinds == ["raised"]


# ---- what people say ----


def test_a_snooze_ends_by_itself_and_what_still_holds_is_told_again(bus, told):
    failed(bus)
    incidents.snooze(bus, incident_id=the_incident().id, choice="8h", actor=BOB, now=NOW)
    asleep = rows.count_needing(NOW + 7 * HOUR), rows.count(Wanted(state="snoozed"), now=NOW)
    alert_sweep.sweep(bus, now=NOW + 7 * HOUR)
    early = told.kinds
    alert_sweep.sweep(bus, now=NOW + 8 * HOUR)

    assert (asleep, early, told.kinds) == ((0, 1), ["raised"], ["raised", "raised"])
    assert "still holds" in told.texts[-1]
    assert rows.count_needing(NOW + 8 * HOUR) == 1
    assert Alert.get().snoozed_until is None


def test_many_snoozes_that_end_together_end_some_at_a_time(bus, told, monkeypatch):
    for number in range(5):
        failed(bus, f"group:{number}", cause="shared:x")
    incidents.snooze(bus, incident_id=the_incident().id, choice="8h", actor=BOB, now=NOW)
    monkeypatch.setattr(alert_sweep, "MOST_AT_ONCE", 2)
    changed, execute = [], database.db.execute_sql

    def counting(sql, *given):
        cursor = execute(sql, *given)
        if sql.startswith('UPDATE "alerts"'):
            changed.append(cursor.rowcount)
        return cursor

    monkeypatch.setattr(database.db, "execute_sql", counting)
    alert_sweep.sweep(bus, now=NOW + 9 * HOUR)

    assert changed == [2, 2, 1, 0]
    assert the_incident().snoozed_until is None
    assert Alert.select().where(Alert.snoozed_until.is_null(False)).count() == 0


def test_what_is_over_during_its_snooze_is_told_as_over_and_not_again(bus, told):
    failed(bus)
    incidents.snooze(bus, incident_id=the_incident().id, choice="8h", actor=BOB, now=NOW)
    over(bus)
    alert_sweep.sweep(bus, now=NOW + DAY)

    assert told.kinds == ["raised", "resolved"]


def test_a_snooze_can_be_ended_before_its_time(bus):
    failed(bus)
    incidents.snooze(bus, incident_id=the_incident().id, choice="8h", actor=BOB, now=NOW)
    incidents.wake(bus, incident_id=the_incident().id, actor=ALICE, now=NOW + MINUTE)

    assert rows.count_needing(NOW + MINUTE) == 1
    assert [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id)][-2:] == [
        "incident.snoozed", "incident.woken",
    ]  # fmt: skip


@pytest.mark.parametrize("chosen", [NOW - HOUR, NOW + MINUTE, NOW + 100 * DAY, None])
def test_a_snooze_that_never_ends_or_never_begins_is_refused(bus, chosen):
    failed(bus)

    with pytest.raises(Invalid):
        incidents.snooze(bus, incident_id=the_incident().id, choice="", chosen=chosen, actor=BOB, now=NOW)


def test_snoozing_the_last_awake_alert_snoozes_the_incident(bus):
    first, second = failed(bus, cause="c:1"), failed(bus, "group:2", cause="c:1")
    alerts.snooze(bus, alert_id=first.id, choice="1d", actor=BOB, now=NOW)
    half = the_incident().snoozed_until
    alerts.snooze(bus, alert_id=second.id, choice="1h", actor=BOB, now=NOW)
    whole = the_incident().snoozed_until
    alerts.wake(bus, alert_id=second.id, actor=BOB, now=NOW)

    assert (half, whole, the_incident().snoozed_until) == (None, NOW + HOUR, None)


def test_acknowledging_every_alert_acknowledges_the_incident_and_tells_it_once(bus, told):
    first, second = failed(bus, cause="c:1"), failed(bus, "group:2", cause="c:1")
    alerts.acknowledge(bus, alert_id=first.id, actor=BOB, now=NOW)
    half = the_incident().state
    alerts.acknowledge(bus, alert_id=second.id, actor=BOB, now=NOW)
    alerts.acknowledge(bus, alert_id=second.id, actor=ALICE, now=NOW)

    assert (half, the_incident().state, the_incident().acknowledged_by) == ("raised", "acknowledged", "bob")
    assert told.kinds == ["raised", "acknowledged"]


def test_resolving_an_incident_resolves_its_alerts_and_is_told_at_once(bus, told):
    failed(bus, kind="repository_unreachable", cause="shared:9")
    failed(bus, "group:2", cause="shared:9")
    for _ in range(2):
        incidents.resolve(bus, incident_id=the_incident().id, actor=BOB, now=NOW)

    assert [(one.state, one.resolved_by) for one in Alert.select()] == [("resolved", "bob")] * 2
    assert (the_incident().state, the_incident().open_count, told.kinds) == ("resolved", 0, ["raised", "resolved"])
    assert AuditEntry.select().where(AuditEntry.action == "incident.resolved").count() == 1


def test_what_is_over_cannot_be_acknowledged_or_snoozed(bus):
    failed(bus)
    incidents.resolve(bus, incident_id=the_incident().id, actor=BOB, now=NOW)

    with pytest.raises(Conflict):
        incidents.acknowledge(bus, incident_id=the_incident().id, actor=BOB, now=NOW)
    with pytest.raises(Conflict):
        incidents.snooze(bus, incident_id=the_incident().id, choice="1h", actor=BOB, now=NOW)


def test_the_list_is_narrowed_by_state_severity_kind_host_tag_and_text(bus, web1):
    failed(bus, host=web1)
    failed(bus, "group:2", kind="backup_late", message="Nothing since Monday.")
    hosts.set_tags(bus, host_id=web1.id, tags=("web",), actor=ALICE, now=NOW)
    asked = (
        Wanted(severity="critical"), Wanted(kind="backup_failed"), Wanted(host_id=web1.id), Wanted(tag="web"),
        Wanted(q="web1"), Wanted(state="open", q="no."),
    )  # fmt: skip

    found = [[one.kind for one in rows.list_page(wanted, now=NOW, limit=9)] for wanted in asked]

    assert found == [["backup_failed"]] * len(asked)
    assert rows.count(Wanted(q="monday"), now=NOW) == 1
    assert rows.count(Wanted(tag="db"), now=NOW) == 0


def test_an_incident_is_named_by_what_people_call_the_thing(bus, web1):
    group = cast.nightly(bus, web1)
    failed(bus, f"group:{group}", host=web1)
    failed(bus, "host:1", kind="update_failed", host=web1)
    failed(bus, "release-import", kind="release_signature_invalid")

    assert [one.title for one in Incident.select().order_by(Incident.opened_at, Incident.kind)] == [
        "Backup failed: files on web1", "Release signature invalid", "Update failed: web1",
    ]  # fmt: skip
