"""What people are told of hosts that are to be awake and are silent."""

from datetime import datetime, timedelta

from rm.services import backup_alerts
from rm.store import alerts as alert_rows
from rm.store.database import db
from rm.store.models import Alert, Host
from tests import cast
from tests.cast import NOW, EnrolledHost
from tests.services.judging import DAY, HOUR, swept, told


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
