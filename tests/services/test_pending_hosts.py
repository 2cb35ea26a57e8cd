"""Deciding on announced hosts, as far as HTTP does not show it."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rm.errors import Conflict, Gone, NotFound, TooMany
from rm.events import PendingHostsChanged
from rm.services import pending_hosts
from rm.services.enrolments import Applicant
from rm.services.pending_hosts import Undecided, message_to_sign
from rm.store.models import AuditEntry, PendingHost
from tests.cast import ALICE, BOB, NOW

KEY = Ed25519PrivateKey.generate()
URL = "https://backup.example"


@pytest.fixture
def pending(bus, app):
    raw = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    applicant = Applicant("web9", "linux", "amd64", "0.1.0", 1, "m")
    return pending_hosts.announce(bus, applicant=applicant, public_key=raw, address="192.0.2.44", now=NOW)


def approve(bus, pending, now=NOW, actor=ALICE):
    return pending_hosts.approve(bus, pending_id=pending.id, actor=actor, now=now)


def reject(bus, pending):
    return pending_hosts.reject(bus, pending_id=pending.id, actor=ALICE, now=NOW)


def claim(bus, pending):
    text = message_to_sign(base_url=URL, pending_id=pending.id, nonce=pending.nonce)
    signature = base64.b64encode(KEY.sign(text)).decode()
    return pending_hosts.claim(
        bus, pending_id=pending.id, signature=signature, base_url=URL, seen_urls=(), address="192.0.2.44", now=NOW
    )


def test_approving_twice_is_one_decision(bus, pending):
    approve(bus, pending)
    again = approve(bus, pending, now=NOW + timedelta(minutes=1), actor=BOB)

    assert (again.decided_by, again.decided_at) == ("alice", NOW)
    assert AuditEntry.select().where(AuditEntry.action == "pending_host.approved").count() == 1


def test_an_approval_can_be_taken_back_until_the_host_is_in(bus, pending):
    approve(bus, pending)
    reject(bus, pending)

    with pytest.raises(Conflict):
        approve(bus, pending)
    assert PendingHost.get_by_id(pending.id).state == "rejected"


def test_a_host_that_is_in_cannot_be_rejected(bus, pending):
    approve(bus, pending)
    claim(bus, pending)

    with pytest.raises(Conflict, match="is in already"):
        reject(bus, pending)


def test_what_lapsed_cannot_be_approved(bus, pending):
    with pytest.raises(Gone):
        approve(bus, pending, now=NOW + timedelta(hours=1))


def test_nobody_decides_on_what_does_not_exist(bus, app):
    with pytest.raises(NotFound):
        pending_hosts.approve(bus, pending_id="x", actor=ALICE, now=NOW)


def test_each_step_is_told_to_open_pages(bus, pending):
    with bus.subscribe() as listener:
        undecided = claim(bus, pending)
        nothing = listener.take(timeout=0)
        approve(bus, pending)
        approved = listener.take(timeout=0)
        claim(bus, pending)
        claimed = listener.take(timeout=0)

    assert (undecided, nothing) == (Undecided(), [])
    assert PendingHostsChanged(pending.id) in approved
    assert PendingHostsChanged(pending.id) in claimed


def test_old_rows_are_forgotten_when_somebody_announces(bus, pending):
    key = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()

    pending_hosts.announce(
        bus,
        applicant=Applicant("db9", "linux", "amd64", "0", 0, ""),
        public_key=key,
        address="",
        now=NOW + timedelta(days=32),
    )

    assert [found.hostname for found in PendingHost.select()] == ["db9"]


def test_the_audit_names_the_fingerprint_of_each_decision(bus, pending):
    approve(bus, pending)
    claim(bus, pending)

    found = {entry.action: entry.payload.get("fingerprint") for entry in AuditEntry.select()}
    assert found == dict.fromkeys(("host.announced", "pending_host.approved", "host.enrolled"), pending.fingerprint)


def test_one_address_holds_at_most_half_of_the_places(bus, app):
    def announce(number, address):
        raw = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
        applicant = Applicant(f"edge-{number}", "linux", "amd64", "0.1.0", 1, "m")
        return pending_hosts.announce(bus, applicant=applicant, public_key=raw, address=address, now=NOW)

    for number in range(50):
        announce(number, "192.0.2.44")

    with pytest.raises(TooMany, match=r"50 announced hosts from 192\.0\.2\.44 wait") as refused:
        announce(50, "192.0.2.44")
    assert refused.value.retry_after_seconds == 3601
    for number in range(50):
        announce(number, f"198.51.100.{number}")
    with pytest.raises(TooMany, match="100 announced hosts wait"):
        announce(100, "203.0.113.5")
