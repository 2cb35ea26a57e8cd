"""Who is told what of an incident, and what becomes of each telling."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from rm.domain.alerts import KINDS
from rm.errors import Conflict
from rm.services import alerts, channels, deliveries, delivery_tries, incidents
from rm.services import hosts as host_service
from rm.services.channel_forms import ChannelForm
from rm.shared.ids import new_ulid
from rm.store import deliveries as rows
from rm.store.database import changes
from rm.store.models import Alert, AuditEntry, Channel, Delivery, HostTag, Incident
from tests.cast import ALICE, BOB, NOW

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
SETTLED = NOW + timedelta(seconds=10)
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def channel(bus, vault):
    """Makes channels, with another name each."""

    def make(name: str = "hook", **values: Any) -> Channel:
        form = ChannelForm(name=name, kind="webhook", url=URL, **values)
        return channels.create(bus, vault, form=form, actor=ALICE, now=NOW)[0]

    return make


@pytest.fixture
def fail(bus):
    """Raises an alert about a host's backups; returns its incident."""

    def raise_it(host, *, now: datetime = NOW, kind: str = "backup_failed", cause: str = "") -> Incident:
        with changes():
            found = alerts.raise_alert(
                bus, kind=kind, condition=f"host:{host.id}:files", message=f"{host.name} said no.", now=now,
                host_id=host.id, cause=cause,
            )  # fmt: skip
        assert found is not None
        return Incident.get_by_id(found.incident_id)

    return raise_it


def told(channel: Channel | None = None) -> list[tuple[str, str]]:
    query = Delivery.select().order_by(Delivery.event_id, Delivery.id)
    return [
        (one.event, one.state) for one in query if channel is None or one.channel_id == channel.id
    ]  # fmt: skip


def send_all(bus, *, now: datetime, ok: bool = True) -> list[str]:
    """What the worker does, with the other side's answer given."""
    sent = []
    for channel_id in rows.channels_due(now=now):
        while (found := rows.next_due(channel_id, now=now)) is not None:
            begun = delivery_tries.begin(found.id, base_url="https://rm.example.net", now=now)
            assert begun is not None
            sent.append(begun.event)
            if ok:
                delivery_tries.arrived(bus, delivery_id=begun.id, now=now)
            else:
                delivery_tries.not_arrived(bus, delivery_id=begun.id, reason="it answered 500", now=now)
                break
    return sent


def test_a_failure_becomes_one_delivery_for_each_channel_that_wants_it(bus, channel, fail, web1):
    mail, pager = channel("mail"), channel("pager", min_severity="critical")

    fail(web1)
    fail(web1, now=NOW + MINUTE)

    assert (told(mail), told(pager)) == ([("raised", "queued")], [("raised", "queued")])


def test_nothing_is_told_without_channels_and_a_good_backup_tells_nothing(bus, channel, fail, web1):
    fail(web1)
    assert told() == []

    channel()
    with changes():
        alerts.clear(bus, kind="backup_failed", condition=f"host:{web1.id}:files", note="Good again.", now=NOW)
    assert told() == []


@pytest.mark.parametrize(
    ("wish", "hears"),
    [
        ({}, True),
        ({"min_severity": "critical"}, False),
        ({"kinds": ["backup_late"]}, True),
        ({"kinds": ["check_failed"]}, False),
        ({"tags": ["prod"]}, True),
        ({"tags": ["office", "prod"]}, True),
        ({"tags": ["office"]}, False),
        ({"is_enabled": False}, False),
    ],
)
def test_a_channel_hears_only_of_what_it_wants(bus, channel, fail, web1, wish, hears):
    HostTag.create(host=web1.id, tag="prod")
    channel(**wish)

    fail(web1, kind="backup_late")

    assert bool(told()) is hears


def test_acknowledgement_and_recovery_go_only_to_who_was_told_of_the_failure_and_wants_to_know(
    bus, channel, fail, web1
):
    everything, quiet = channel("everything"), channel("quiet", tells_acknowledged=False, tells_resolved=False)
    other = channel("other", kinds=["check_failed"])
    incident = fail(web1)
    send_all(bus, now=SETTLED)

    incidents.acknowledge(bus, incident_id=incident.id, actor=BOB, now=SETTLED)
    incidents.resolve(bus, incident_id=incident.id, actor=BOB, now=SETTLED)
    send_all(bus, now=SETTLED)

    assert told(everything) == [("raised", "sent"), ("acknowledged", "sent"), ("resolved", "sent")]
    assert told(quiet) == [("raised", "sent")]
    assert told(other) == []
    last = deliveries.notice(Delivery.get(Delivery.event == "resolved"))
    assert (last.event, last.actor, last.host_count) == ("resolved", "bob", 1)


def test_a_channel_made_after_the_failure_is_not_told_of_its_end(bus, channel, fail, web1):
    incident = fail(web1)
    late = channel("late")

    incidents.resolve(bus, incident_id=incident.id, actor=BOB, now=NOW + MINUTE)

    assert told(late) == []


def test_what_is_over_before_it_could_be_told_is_not_told_at_all(bus, channel, fail, web1):
    found = channel()
    incident = fail(web1)

    incidents.acknowledge(bus, incident_id=incident.id, actor=BOB, now=NOW + SECOND)
    incidents.resolve(bus, incident_id=incident.id, actor=BOB, now=NOW + 2 * SECOND)

    assert send_all(bus, now=NOW + MINUTE) == []
    assert told(found) == [("raised", "dropped"), ("acknowledged", "dropped")]
    assert "over before" in Delivery.get(Delivery.event == "raised").reason


def test_a_failure_whose_try_may_have_arrived_is_followed_by_its_end_and_in_order(bus, channel, fail, web1):
    found = channel()
    incident = fail(web1)
    assert send_all(bus, now=SETTLED, ok=False) == ["raised"]

    incidents.resolve(bus, incident_id=incident.id, actor=BOB, now=SETTLED + SECOND)

    assert send_all(bus, now=SETTLED + SECOND) == [], "the channel rests, and the end waits for the beginning"
    assert send_all(bus, now=SETTLED + MINUTE) == ["raised", "resolved"]
    assert told(found) == [("raised", "sent"), ("resolved", "sent")]


def test_the_end_of_what_never_arrived_is_not_told(bus, channel, fail, web1):
    channel()
    incident = fail(web1)
    Delivery.update(state="given_up", tries=9, ended_at=NOW).execute()

    incidents.resolve(bus, incident_id=incident.id, actor=BOB, now=NOW + timedelta(days=2))

    assert told() == [("raised", "given_up")]


def test_another_incident_does_not_wait_for_one_that_fails(bus, channel, fail, web1, db1):
    channel()
    fail(web1)
    assert send_all(bus, now=SETTLED, ok=False) == ["raised"]
    fail(db1, now=SETTLED)

    begun = rows.next_due(Channel.get().id, now=SETTLED + 20 * SECOND)

    assert begun is not None
    assert begun.incident.host_id == db1.id


def test_a_failed_delivery_waits_longer_each_time_and_is_given_up_after_a_day(bus, channel, fail, web1):
    channel()
    fail(web1)
    now, waits = SETTLED, []
    while Delivery.get().state == "queued":
        delivery = Delivery.get()
        assert send_all(bus, now=now, ok=False) == ["raised"]
        after = Delivery.get()
        assert after.tries == delivery.tries + 1
        assert after.reason == "it answered 500"
        if after.next_try_at is not None:
            waits.append(after.next_try_at - now)
            now = max(after.next_try_at, Channel.get().paused_until)

    assert waits[:5] == [30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 60 * MINUTE]
    assert set(waits[5:]) == {60 * MINUTE}
    assert timedelta(hours=22) < now - NOW <= timedelta(hours=24)
    assert Delivery.get().state == "given_up"


def test_a_dead_channel_is_an_alert_that_it_is_not_told_of_itself_and_that_ends_with_an_arrival(
    bus, channel, fail, web1
):
    dead, other = channel("dead", kinds=["backup_failed", "channel_failing"]), channel("other")
    fail(web1)
    now = SETTLED
    for _ in range(5):
        begun = rows.next_due(dead.id, now=now)
        delivery_tries.begin(begun.id, base_url="", now=now)
        delivery_tries.not_arrived(bus, delivery_id=begun.id, reason="it answered 500", now=now)
        now = Delivery.get_by_id(begun.id).next_try_at

    raised = Alert.get(Alert.kind == "channel_failing")
    assert "dead" in raised.message
    about_it = Delivery.select().where(Delivery.incident == raised.incident_id)
    assert [one.channel_id for one in about_it] == [other.id]

    delivery_tries.arrived(bus, delivery_id=begun.id, now=now)
    assert Alert.get_by_id(raised.id).state == "resolved"
    assert Channel.get_by_id(dead.id).failing_since is None


def test_what_waited_for_a_channel_that_is_well_again_is_due_at_once(bus, channel, fail, web1, db1):
    found = channel()
    fail(web1)
    fail(db1)
    now = SETTLED
    for _ in range(9):
        send_all(bus, now=now, ok=False)
        now = Channel.get().paused_until
    assert Channel.get_by_id(found.id).failures >= 7
    first, second = sorted(one.next_try_at for one in Delivery.select())
    now = max(first, now)
    assert second > now

    assert send_all(bus, now=now) == ["raised", "raised"]


def test_retry_now_brings_back_also_what_was_given_up_and_refuses_what_arrived(bus, channel, fail, web1):
    channel()
    fail(web1)
    delivery = Delivery.get()
    Delivery.update(state="given_up", ended_at=NOW, tries=20, next_try_at=None).execute()
    later = NOW + timedelta(days=3)

    delivery_tries.retry_now(bus, delivery_id=delivery.id, actor=ALICE, now=later)
    assert send_all(bus, now=later, ok=False) == ["raised"]
    assert Delivery.get().state == "queued", "its day begins anew"
    delivery_tries.retry_now(bus, delivery_id=delivery.id, actor=ALICE, now=later + SECOND)
    assert send_all(bus, now=later + SECOND) == ["raised"]

    with pytest.raises(Conflict):
        delivery_tries.retry_now(bus, delivery_id=delivery.id, actor=ALICE, now=later)
    assert AuditEntry.select().where(AuditEntry.action == "delivery.retried").count() == 2


def test_a_try_is_counted_before_it_and_says_the_same_under_the_same_id_when_it_is_repeated(
    bus, channel, fail, web1, db1
):
    channel()
    incident = fail(web1, cause="the storm")
    first = delivery_tries.begin(Delivery.get().id, base_url="https://rm.example.net", now=SETTLED)
    fail(db1, cause="the storm")

    again = delivery_tries.begin(first.id, base_url="https://elsewhere.example", now=SETTLED + MINUTE)

    assert (first.tries, again.tries, again.id) == (1, 2, first.id)
    assert again.payload == first.payload
    assert deliveries.notice(again).host_count == 1
    assert deliveries.notice(again).link == f"https://rm.example.net/alerts/{incident.id}"


def test_hosts_that_fail_while_it_settles_are_counted_in_the_one_message(bus, channel, fail, web1, db1):
    channel()
    fail(web1, cause="the storm")
    fail(db1, cause="the storm")

    begun = delivery_tries.begin(Delivery.get().id, base_url="", now=SETTLED)

    assert told() == [("raised", "queued")]
    notice = deliveries.notice(begun)
    assert (notice.host_count, notice.hosts) == (2, ("db1", "web1"))
    assert notice.advice == KINDS[notice.kinds[0]].advice


def test_an_incident_that_grows_into_a_choosy_channels_wishes_is_told_there_once(bus, channel, fail, web1, db1):
    databases = channel("databases", tags=["db"])
    HostTag.create(host=db1.id, tag="db")
    fail(web1, cause="the storm")
    deliveries.catch_up(bus, since=NOW - MINUTE, now=NOW)
    assert told(databases) == []

    fail(db1, now=NOW + MINUTE, cause="the storm")
    for _ in range(3):
        deliveries.catch_up(bus, since=NOW, now=NOW + 2 * MINUTE)

    assert told(databases) == [("raised", "queued")]


def test_ten_thousand_alerts_of_one_cause_are_one_delivery_for_each_channel(bus, channel, web1):
    mail, tagged = channel("mail"), channel("tagged", tags=["prod"])
    HostTag.create(host=web1.id, tag="prod")
    with changes():
        for number in range(300):
            alerts.raise_alert(
                bus, kind="backup_failed", condition=f"host:{number}:files", message="No.", now=NOW, host_id=web1.id,
                cause="the storm",
            )  # fmt: skip
        incident = Incident.get()
        Alert.insert_many(
            {"id": new_ulid(), "kind": "backup_failed", "severity": "critical", "condition": f"more:{number}",
             "host": web1.id, "message": "No.", "first_seen_at": NOW, "last_seen_at": NOW, "incident": incident.id}
            for number in range(9_700)
        ).execute()  # fmt: skip

    deliveries.catch_up(bus, since=NOW - MINUTE, now=NOW)
    with changes():
        begun = delivery_tries.begin(Delivery.get(Delivery.channel == mail.id).id, base_url="", now=SETTLED)

    assert (told(mail), told(tagged)) == ([("raised", "queued")], [("raised", "queued")])
    assert deliveries.notice(begun).host_count == 1


def test_switching_a_channel_off_drops_what_waits_and_ends_its_alert(bus, vault, channel, fail, web1):
    found = channel()
    fail(web1)

    channels.change(
        bus, vault, channel_id=found.id, form=ChannelForm(name="hook", is_enabled=False), actor=ALICE, now=NOW
    )

    assert told() == [("raised", "dropped")]
    assert rows.channels_due(now=NOW + MINUTE) == []


def test_nothing_of_a_transaction_that_is_rolled_back_is_told(bus, channel, web1):
    channel()
    with pytest.raises(ZeroDivisionError), changes():
        alerts.raise_alert(
            bus, kind="backup_failed", condition="x", message="No.", now=NOW, host_id=web1.id
        )  # fmt: skip
        raise ZeroDivisionError
    assert told() == []


def test_a_host_that_is_removed_takes_no_channel_down(bus, channel, fail, web1):
    channel()
    fail(web1)
    host_service.remove(bus, host_id=web1.id, typed_name="web1", actor=ALICE, now=NOW)

    send_all(bus, now=SETTLED)
