"""A lost repository through a real channel: one row to send, however many hosts; another when it is over."""

from datetime import timedelta

import pytest

from rm.services import alert_sweep, alerts
from rm.store.models import Channel, Delivery, Incident
from tests.cast import NOW

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def channel(app) -> Channel:
    return Channel.create(
        id="c1", name="ops", kind="webhook", url_sealed=b"-", url_shown="https://ops.example.net",
        created_at=NOW - HOUR, changed_at=NOW - HOUR,
    )  # fmt: skip


def test_one_lost_repository_is_one_row_to_send_and_its_end_another_once_it_stays(bus):
    for number in range(40):
        alerts.raise_alert(
            bus, kind="repository_unreachable" if number == 1 else "backup_failed", condition=f"x:{number}",
            message="No.", now=NOW, cause="shared:1",
        )  # fmt: skip
    Delivery.update(state="sent", ended_at=NOW, tries=1).execute()
    for number in range(40):
        kind = "repository_unreachable" if number == 1 else "backup_failed"
        alerts.clear(bus, kind=kind, condition=f"x:{number}", note="It opens.", now=NOW + HOUR)
    early = Delivery.select().count()
    alert_sweep.sweep(bus, now=NOW + 2 * HOUR)

    assert Incident.select().count() == 1
    assert early == 1
    assert [one.event for one in Delivery.select().order_by(Delivery.event_id)] == ["raised", "resolved"]
