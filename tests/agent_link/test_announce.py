"""Announce and approve over HTTP, as an agent of any make would do it."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rm.domain.limits import ANNOUNCE_PER_ADDRESS, CLAIM_PER_ADDRESS
from rm.services import hosts, pending_hosts, presence
from rm.shared import ed25519
from rm.store.models import Host, HostCredential, PendingHost
from tests.cast import ALICE, NOW

BODY = {"hostname": "web9", "os": "linux", "arch": "amd64", "agent_version": "0.1.0", "agent_seq": 1, "machine_id": "m"}
BASE_URL = "http://localhost"


class Announcer:
    """A host with a key of its own."""

    def __init__(self, client, **facts):
        self.client = client
        self.key = Ed25519PrivateKey.generate()
        self.facts = BODY | facts
        self.pending_id = self.nonce = ""

    @property
    def raw_key(self):
        return self.key.public_key().public_bytes_raw()

    def announce(self, *, address="127.0.0.1"):
        body = self.facts | {"public_key": base64.b64encode(self.raw_key).decode()}
        answer = self.client.post("/agent/announce", json=body, environ_base={"REMOTE_ADDR": address})
        if answer.status_code == 202:
            self.pending_id, self.nonce = answer.json["pending_id"], answer.json["nonce"]
        return answer

    def sign(self, base_url=BASE_URL, key=None):
        text = f"restic-manager-announce-v1\n{base_url}\n{self.pending_id}\n{self.nonce}"
        return base64.b64encode((key or self.key).sign(text.encode())).decode()

    def claim(self, signature=None, **options):
        body = {"signature": signature if signature is not None else self.sign()}
        return self.client.post(f"/agent/announce/{self.pending_id}/claim", json=body, **options)


@pytest.fixture
def web9(client):
    host = Announcer(client)
    host.announce()
    return host


def approve(bus, host, now=NOW):
    pending_hosts.approve(bus, pending_id=host.pending_id, actor=ALICE, now=now)


def code(answer):
    return (answer.status_code, answer.json["error"]["code"])


def test_an_announced_host_waits_for_an_hour_with_its_fingerprint(client):
    host = Announcer(client)

    answer = host.announce()

    assert answer.status_code == 202
    assert set(answer.json) == {"pending_id", "fingerprint", "nonce", "expires_at"}
    assert answer.json["fingerprint"] == ed25519.fingerprint(host.raw_key)
    assert answer.json["expires_at"] == "2026-11-23T13:00:00.000000Z"


def test_nobody_comes_in_before_somebody_has_decided(web9):
    answer = web9.claim()

    assert (answer.status_code, answer.json) == (202, {"retry_after_seconds": pending_hosts.RETRY_SECONDS})
    assert Host.select().count() == 0


def test_an_approved_host_that_signs_gets_its_credential(web9, bus):
    approve(bus, web9)

    answer = web9.claim()

    assert answer.status_code == 201
    assert set(answer.json) == {"host_id", "credential", "trust", "heartbeat_seconds"}
    host = presence.admit(credential=answer.json["credential"])
    assert (host.id, host.name, host.enrolled_by) == (answer.json["host_id"], "web9", "alice")


def test_a_lost_answer_strands_nobody_and_the_first_credential_ends(web9, bus):
    approve(bus, web9)
    first = web9.claim().json

    second = web9.claim().json

    assert second["host_id"] == first["host_id"]
    assert presence.admit(credential=second["credential"]).id == first["host_id"]
    assert HostCredential.select().where(HostCredential.revoked_at.is_null()).count() == 1


@pytest.mark.parametrize("change", [{"first_hello_at": NOW}, {"revoked_at": NOW}])
def test_a_replayed_claim_gets_nothing_after_the_first_hello_or_a_revocation(web9, bus, change):
    approve(bus, web9)
    credential = web9.claim().json["credential"]
    Host.update(**change).execute()

    assert code(web9.claim()) == (410, "claimed")
    assert HostCredential.select().count() == 1
    assert credential


def test_a_removed_host_does_not_come_back_by_its_old_claim(web9, bus):
    approve(bus, web9)
    host_id = web9.claim().json["host_id"]
    hosts.remove(bus, host_id=host_id, typed_name="web9", actor=ALICE, now=NOW)

    assert code(web9.claim()) == (410, "claimed")
    assert Host.select().count() == 0


@pytest.mark.parametrize("signature", ["", "not base64 !", "AAAA", base64.b64encode(bytes(64)).decode(), "é"])
def test_a_wrong_signature_is_refused_and_the_row_is_unharmed(web9, bus, signature):
    approve(bus, web9)

    refused = web9.claim(signature)

    assert code(refused) == (401, "bad_signature")
    assert PendingHost.get().state == "approved"
    assert web9.claim().status_code == 201


def test_another_key_cannot_claim(web9, bus):
    approve(bus, web9)

    assert code(web9.claim(web9.sign(key=Ed25519PrivateKey.generate()))) == (401, "bad_signature")


def test_a_claim_for_another_address_names_both(web9, bus):
    approve(bus, web9)

    refused = web9.claim(web9.sign("http://10.0.0.5:8080"), headers={"Host": "10.0.0.5:8080"})

    assert code(refused) == (401, "wrong_url")
    told = refused.json["error"]["message"] + refused.json["error"]["help"]
    assert "http://10.0.0.5:8080" in told
    assert f"--server {BASE_URL}" in told


def test_a_signature_for_another_server_is_refused_whatever_the_headers_say(web9, bus):
    approve(bus, web9)
    signature = web9.sign("https://relay.example")

    for headers in ({}, {"Host": "relay.example"}, {"Host": "localhost"}):
        assert web9.claim(signature, headers=headers).status_code == 401
    assert Host.select().count() == 0


def test_a_rejected_host_is_told_so(web9, bus):
    pending_hosts.reject(bus, pending_id=web9.pending_id, actor=ALICE, now=NOW)

    assert code(web9.claim()) == (403, "rejected")


def test_an_announcement_that_nobody_decided_lapses(web9, clock):
    clock.now = NOW + timedelta(hours=1)

    assert code(web9.claim()) == (410, "expired")


def test_an_approval_is_good_for_another_hour(web9, bus, clock):
    approve(bus, web9, now=NOW + timedelta(minutes=59))
    clock.now = NOW + timedelta(minutes=90)

    assert web9.claim().status_code == 201


def test_an_unknown_announcement_is_not_found(web9):
    web9.pending_id = "x"

    assert web9.claim().status_code == 404


def test_the_same_announcement_again_takes_no_second_place(web9):
    first = web9.pending_id

    web9.announce()

    assert web9.pending_id == first
    assert PendingHost.select().count() == 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        "?",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(32)).decode(),
        base64.b64encode(b"\x01" + bytes(31)).decode(),
        base64.b64encode(b"\xff" * 32).decode(),
        7,
    ],
)
def test_a_key_that_cannot_be_trusted_is_refused(client, key):
    answer = client.post("/agent/announce", json=BODY | {"public_key": key})

    assert answer.status_code == 422
    assert "public_key" in answer.json["error"]["message"]
    assert PendingHost.select().count() == 0


@pytest.mark.parametrize("change", [{"hostname": " "}, {"hostname": "a\nb"}, {"agent_seq": -1}, {"machine_id": []}])
def test_facts_that_do_not_fit_are_named(client, change):
    answer = Announcer(client, **change).announce()

    assert answer.status_code == 422
    assert next(iter(change)) in answer.json["error"]["message"]


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"[" * 50_000])
@pytest.mark.parametrize("path", ["/agent/announce", "/agent/announce/x/claim"])
def test_a_body_that_is_no_object_is_refused(client, path, data):
    assert client.post(path, data=data).status_code in (413, 422)


def test_an_address_may_announce_ten_hosts_a_minute(client, clock):
    answers = [Announcer(client).announce() for _ in range(ANNOUNCE_PER_ADDRESS.count + 1)]

    assert ANNOUNCE_PER_ADDRESS.count == 10
    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    clock.now = NOW + timedelta(seconds=61)
    assert Announcer(client).announce().status_code == 202


def test_a_hundred_may_wait_and_the_next_is_told_when_to_come_back(client, clock):
    for number in range(100):
        clock.now = NOW + timedelta(seconds=7 * number)
        announced = Announcer(client, hostname=f"h{number}").announce(address=f"192.0.2.{number % 3}")
        assert announced.status_code == 202

    refused = Announcer(client).announce()

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == 3600 - 7 * 99 + 1
    clock.now = NOW + timedelta(hours=1)
    assert Announcer(client).announce().status_code == 202


def test_guessing_signatures_is_slowed_down_and_waiting_is_not(web9, clock):
    for _ in range(CLAIM_PER_ADDRESS.count * 2):
        assert web9.claim().status_code == 202
    for _ in range(CLAIM_PER_ADDRESS.count):
        assert web9.claim("AAAA").status_code == 401

    assert web9.claim("AAAA").status_code == 429


def test_announcing_can_be_switched_off_and_those_that_wait_may_still_come_in(web9, bus, client):
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)
    approve(bus, web9)

    assert code(Announcer(client).announce()) == (403, "announcing_off")
    assert web9.claim().status_code == 201
