"""Credentials over the open socket: renewed, contested, taken back."""

from datetime import timedelta

from rm.services import credentials, enrolments, tokens
from rm.services.enrolments import Applicant
from rm.store.models import Alert, HostCredential
from tests.agent_link.conftest import WAIT, wait_until
from tests.cast import ALICE, NOW, EnrolledHost


def renew(parts, host):
    credentials.renew(parts.bus, parts.vault, host_id=host.id, actor=ALICE, now=NOW)


def with_credential(host, credential):
    return EnrolledHost(id=host.id, name=host.name, credential=credential)


def active(host):
    query = HostCredential.select().where(HostCredential.host == host.id, HostCredential.revoked_at.is_null())
    return {found.credential_hash for found in query}


def test_a_renewal_reaches_a_connected_host_at_once(connect, parts, web1):
    ws = connect(web1)

    renew(parts, web1)

    assert ws.wait_for("config.set", version=2).credential.startswith("rmh_")


def test_a_renewal_waits_for_a_host_that_is_away(connect, parts, web1):
    first = connect(web1)
    first.hang_up()
    first.thread.join(WAIT)
    renew(parts, web1)

    ws = connect(web1, config_version=1)

    assert ws.wait_for("config.set", version=2).credential.startswith("rmh_")


def test_the_old_one_ends_with_the_first_hello_of_the_new_one(connect, parts, web1):
    ws = connect(web1)
    renew(parts, web1)
    fresh = ws.wait_for("config.set", version=2).credential
    between = active(web1)
    ws.hang_up()
    ws.thread.join(WAIT)

    again = connect(with_credential(web1, fresh), config_version=2)

    assert between == {web1.credential_hash, tokens.hashed(fresh)}
    assert active(web1) == {tokens.hashed(fresh)}
    assert not [message for message in again.sent if message.type == "config.set"]


def test_a_connection_that_breaks_before_the_host_stored_it_is_told_again(connect, parts, web1):
    first = connect(web1)
    renew(parts, web1)
    fresh = first.wait_for("config.set", version=2).credential
    first.hang_up()
    first.thread.join(WAIT)

    ws = connect(web1, config_version=1)

    assert ws.wait_for("config.set", version=2).credential == fresh


def test_ordinary_settings_carry_no_credential(connect, web1):
    ws = connect(web1)

    assert ws.wait_for("config.set").credential == ""


def test_three_replacements_in_ten_minutes_raise_an_alert(connect, clock, web1):
    sockets = [connect(web1)]
    raised = []
    for minute in (0, 4, 8):
        clock.now = NOW + timedelta(minutes=minute)
        sockets.append(connect(web1))
        assert sockets[-2].wait_closed() == 4409
        sockets[-2].thread.join(WAIT)
        raised.append(Alert.select().count())
    wait_until(lambda: Alert.select().count() == 1)

    assert raised[:2] == [0, 0]
    assert Alert.get().host_id == web1.id
    assert sockets[-1].closed_with is None


def test_replacements_over_a_longer_time_are_nobodys_clone(connect, clock, web1):
    connect(web1)
    for minute in (0, 6, 12, 18):
        clock.now = NOW + timedelta(minutes=minute)
        connect(web1)

    assert Alert.select().count() == 0


def test_coming_back_after_the_connection_ended_is_no_replacement(connect, web1):
    for _ in range(4):
        ws = connect(web1)
        ws.hang_up()
        ws.thread.join(WAIT)

    assert Alert.select().count() == 0


def test_enrolling_again_closes_the_old_machines_connection(connect, bus, web1):
    ws = connect(web1)
    _, token = enrolments.mint_token(bus, actor=ALICE, now=NOW, host_id=web1.id)

    enrolments.enrol(
        bus,
        token=token,
        applicant=Applicant("web1", "linux", "amd64", "0.1.0", 1, "new"),
        address="192.0.2.7",
        now=NOW,
    )

    assert ws.wait_closed() == 4403
