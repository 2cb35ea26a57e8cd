"""A host's credential: enrolled again as itself, renewed without stranding anybody, contested by a clone."""

from datetime import timedelta

import pytest

from rm.errors import Conflict, Gone, Invalid, NotFound, Unauthorised
from rm.events import CredentialRevoked, HostConfigChanged, HostEnrolled
from rm.services import alerts, credentials, enrolments, hosts, presence, tokens
from rm.services.enrolments import Applicant
from rm.shared.protocol import Hello
from rm.store import enrolments as queries
from rm.store.models import Alert, AuditEntry, Host, HostCredential
from tests.cast import ALICE, NOW

REBUILT = Applicant(hostname="web1", os="linux", arch="arm64", agent_version="0.2.0", agent_seq=2, machine_id="new")
SOON = NOW + timedelta(minutes=5)


def say_hello(bus, host_id, credential, now=NOW):
    return presence.hello(
        bus,
        host_id=host_id,
        credential_hash=tokens.hashed(credential),
        hello=Hello(protocol_version=1, agent_version="0.1.0", hostname="web1"),
        address="192.0.2.10",
        now=now,
    )


@pytest.fixture
def connected(bus, web1):
    """web1 after its first hello."""
    say_hello(bus, web1.id, web1.credential)
    return web1


def token_for(bus, host):
    return enrolments.mint_token(bus, actor=ALICE, now=NOW, host_id=host.id)[1]


def enrol_again(bus, token, applicant=REBUILT, now=SOON):
    return enrolments.enrol(bus, token=token, applicant=applicant, address="192.0.2.77", now=now)


def renewed(bus, vault, host):
    """The plain text of a renewal that is on its way to the host."""
    credentials.renew(bus, vault, host_id=host.id, actor=ALICE, now=NOW)
    return credentials.to_deliver(vault, host_id=host.id, used_hash=host.credential_hash)


# ---- enrolled again ----


def test_a_host_enrolled_again_is_the_same_host_and_the_old_credential_is_out_at_once(bus, connected):
    token = token_for(bus, connected)
    with bus.subscribe() as listener:
        admission = enrol_again(bus, token)
        events = listener.take(timeout=0)

    assert admission.host_id == connected.id
    assert presence.admit(credential=admission.credential).arch == "arm64"
    with pytest.raises(Unauthorised):
        presence.admit(credential=connected.credential)
    assert CredentialRevoked(connected.id) in events
    assert any(isinstance(event, HostEnrolled) for event in events)
    assert AuditEntry.select().where(AuditEntry.action == "host.reenrolled").count() == 1


def test_a_revoked_host_comes_back_with_its_name_and_tags(bus, connected):
    hosts.rename(bus, host_id=connected.id, name="shop", actor=ALICE, now=NOW)
    hosts.set_tags(bus, host_id=connected.id, tags=("production",), actor=ALICE, now=NOW)
    hosts.revoke_credential(bus, host_id=connected.id, actor=ALICE, now=NOW)

    admission = enrol_again(bus, token_for(bus, connected))

    host = presence.admit(credential=admission.credential)
    assert (host.name, host.revoked_at, Host.select().count()) == ("shop", None, 1)


def test_the_old_credential_works_until_the_token_is_used(bus, connected):
    token_for(bus, connected)

    assert presence.admit(credential=connected.credential).id == connected.id


def test_a_lost_answer_may_be_repeated_until_the_hello_with_the_new_credential(bus, connected):
    token = token_for(bus, connected)
    first = enrol_again(bus, token)
    second = enrol_again(bus, token, now=SOON + timedelta(minutes=1))
    say_hello(bus, connected.id, second.credential, now=SOON + timedelta(minutes=2))

    with pytest.raises(Unauthorised):
        presence.admit(credential=first.credential)
    with pytest.raises(Gone):
        enrol_again(bus, token, now=SOON + timedelta(minutes=3))
    assert presence.admit(credential=second.credential).id == connected.id


def test_another_machine_cannot_repeat_it(bus, connected):
    token = token_for(bus, connected)
    enrol_again(bus, token)

    with pytest.raises(Gone):
        enrol_again(bus, token, Applicant("web1", "linux", "amd64", "0.1.0", 1, "third"))


def test_a_token_of_a_host_ends_with_the_host(bus, connected):
    token = token_for(bus, connected)
    hosts.remove(bus, host_id=connected.id, typed_name="web1", actor=ALICE, now=NOW)

    with pytest.raises(Unauthorised):
        enrol_again(bus, token)


def test_a_token_for_a_host_is_for_one_use_and_for_a_host_that_exists(bus, web1):
    with pytest.raises(Invalid):
        enrolments.mint_token(bus, actor=ALICE, now=NOW, host_id=web1.id, max_uses=2)
    with pytest.raises(NotFound):
        enrolments.mint_token(bus, actor=ALICE, now=NOW, host_id="nobody")


# ---- renewed ----


def test_both_credentials_work_until_the_first_hello_with_the_new_one(bus, vault, connected):
    fresh = renewed(bus, vault, connected)
    both = [presence.admit(credential=one).id for one in (connected.credential, fresh)]

    say_hello(bus, connected.id, connected.credential, now=SOON)
    say_hello(bus, connected.id, fresh, now=SOON)

    assert both == [connected.id, connected.id]
    with pytest.raises(Unauthorised):
        presence.admit(credential=connected.credential)
    assert presence.admit(credential=fresh).id == connected.id
    assert queries.in_use_since(connected.id) == SOON


def test_the_new_credential_is_sealed_at_rest_and_erased_once_used(bus, vault, connected, settings):
    fresh = renewed(bus, vault, connected)
    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))

    say_hello(bus, connected.id, fresh)

    assert fresh.encode() not in stored
    assert HostCredential.select().where(HostCredential.plain_sealed.is_null(False)).count() == 0
    assert fresh not in str([entry.payload for entry in AuditEntry.select()])


def test_renewing_tells_the_connection_and_raises_the_version_once(bus, vault, connected):
    before = Host.get_by_id(connected.id).config_version
    with bus.subscribe() as listener:
        first = renewed(bus, vault, connected)
        second = renewed(bus, vault, connected)
        events = listener.take(timeout=0)

    assert first == second
    assert Host.get_by_id(connected.id).config_version == before + 1
    assert HostConfigChanged(connected.id) in events


def test_who_uses_the_new_credential_already_is_handed_nothing(bus, vault, connected):
    fresh = renewed(bus, vault, connected)

    assert credentials.to_deliver(vault, host_id=connected.id, used_hash=tokens.hashed(fresh)) == ""


def test_revoking_ends_a_renewal_too(bus, vault, connected):
    fresh = renewed(bus, vault, connected)
    hosts.revoke_credential(bus, host_id=connected.id, actor=ALICE, now=NOW)

    with pytest.raises(Unauthorised):
        presence.admit(credential=fresh)
    assert credentials.to_deliver(vault, host_id=connected.id, used_hash="") == ""


def test_enrolling_again_ends_a_renewal_too(bus, vault, connected):
    fresh = renewed(bus, vault, connected)

    enrol_again(bus, token_for(bus, connected))

    with pytest.raises(Unauthorised):
        presence.admit(credential=fresh)


def test_a_host_that_is_revoked_or_never_connected_cannot_be_handed_one(bus, vault, web1, db1):
    hosts.revoke_credential(bus, host_id=db1.id, actor=ALICE, now=NOW)

    for host in (web1, db1):
        with pytest.raises(Conflict) as caught:
            credentials.renew(bus, vault, host_id=host.id, actor=ALICE, now=NOW)
        assert "Enrol it again" in caught.value.help


# ---- in two places ----


def test_a_contested_credential_is_one_alert_that_counts_and_ends_with_a_new_credential(bus, vault, connected):
    for minute in range(3):
        credentials.seen_in_two_places(
            bus, host_id=connected.id, addresses=("192.0.2.1", "192.0.2.2"), now=NOW + timedelta(minutes=minute)
        )
    [alert] = Alert.select()
    fresh = renewed(bus, vault, connected)

    say_hello(bus, connected.id, fresh, now=SOON)

    assert (alert.kind, alert.severity, alert.count) == ("certificate_or_key_problem", "critical", 3)
    assert "192.0.2.1 and from 192.0.2.2" in alert.message
    after = Alert.get_by_id(alert.id)
    assert (after.state, after.note) == ("resolved", "The host has a new credential.")


# ---- alerts ----


@pytest.fixture
def raised(bus, app):
    return alerts.raise_alert(bus, kind="backup_late", condition="host:1", message="Late.", now=NOW)


def test_the_same_condition_is_one_open_row_that_counts(bus, raised):
    again = alerts.raise_alert(bus, kind="backup_late", condition="host:1", message="Later.", now=SOON)

    assert (again.id, again.count, again.message) == (raised.id, 2, "Later.")
    assert (again.first_seen_at, again.last_seen_at) == (NOW, SOON)


def test_what_is_acknowledged_stays_open_and_goes_on_counting(bus, raised):
    alerts.acknowledge(bus, alert_id=raised.id, actor=ALICE, now=NOW)

    again = alerts.raise_alert(bus, kind="backup_late", condition="host:1", message="Late.", now=SOON)

    assert (again.id, again.state, again.acknowledged_by) == (raised.id, "acknowledged", "alice")


def test_after_it_is_resolved_it_is_a_new_alert(bus, raised):
    alerts.resolve(bus, alert_id=raised.id, actor=ALICE, now=NOW)

    again = alerts.raise_alert(bus, kind="backup_late", condition="host:1", message="Late.", now=SOON)

    assert again.id != raised.id
    with pytest.raises(Conflict):
        alerts.acknowledge(bus, alert_id=raised.id, actor=ALICE, now=SOON)


def test_what_no_longer_holds_is_cleared_with_a_note(bus, raised):
    assert alerts.clear(bus, kind="backup_late", condition="host:1", note="It ran.", now=SOON)
    assert not alerts.clear(bus, kind="backup_late", condition="host:1", note="It ran.", now=SOON)

    found = Alert.get_by_id(raised.id)
    assert (found.state, found.resolved_by, found.note) == ("resolved", "server", "It ran.")


def test_saying_it_twice_changes_and_records_nothing_more(bus, raised):
    for _ in range(2):
        alerts.acknowledge(bus, alert_id=raised.id, actor=ALICE, now=NOW)
    for _ in range(2):
        alerts.resolve(bus, alert_id=raised.id, actor=ALICE, now=NOW)

    assert [entry.action for entry in AuditEntry.select()] == ["alert.acknowledged", "alert.resolved"]


def test_an_alert_is_undone_together_with_its_cause(bus, app):
    from rm.store.database import changes

    with bus.subscribe() as listener:
        with pytest.raises(ValueError, match="cause"), changes():
            alerts.raise_alert(bus, kind="backup_late", condition="x", message="Late.", now=NOW)
            raise ValueError("cause")
        events = listener.take(timeout=0)

    assert (Alert.select().count(), events) == (0, [])


def test_a_kind_that_is_not_listed_cannot_be_raised(bus, app):
    with pytest.raises(KeyError):
        alerts.raise_alert(bus, kind="invented", condition="x", message="", now=NOW)
