"""The agents' door over HTTP: getting in, fetching the program, and being refused."""

import pytest

from rm.domain.limits import ENROL_PER_ADDRESS
from rm.services import enrolments
from rm.store.models import Host
from tests.cast import ALICE, NOW

BODY = {"hostname": "web9", "os": "linux", "arch": "amd64", "agent_version": "0.1.0", "agent_seq": 1, "machine_id": "m"}
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade"}


@pytest.fixture
def token(bus):
    return enrolments.mint_token(bus, actor=ALICE, now=NOW)[1]


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_a_host_enrols_and_learns_what_it_needs(client, token):
    answer = client.post("/agent/enroll", json=BODY | {"token": token})

    assert answer.status_code == 201
    assert set(answer.json) == {"host_id", "credential", "trust", "heartbeat_seconds"}
    assert Host.get_by_id(answer.json["host_id"]).name == "web9"


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": ""},
        {"hostname": "x" * 254},
        {"hostname": "two\nlines"},
        {"hostname": 5},
        {"agent_seq": -1},
        {"agent_seq": 2**31 + 1},
        {"agent_seq": True},
        {"machine_id": ["m"]},
    ],
)
def test_a_body_that_does_not_fit_is_named_and_uses_no_token_up(client, token, change):
    answer = client.post("/agent/enroll", json=BODY | {"token": token} | change)

    assert answer.status_code == 422
    assert next(iter(change)) in answer.json["error"]["message"]
    assert client.post("/agent/enroll", json=BODY | {"token": token}).status_code == 201


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"[" * 50_000, b'"x"'])
def test_a_body_that_is_no_object_is_refused(client, app, data):
    assert client.post("/agent/enroll", data=data).status_code in (413, 422)


def test_unknown_and_expired_tokens_are_told_apart(client, token, clock):
    unknown = client.post("/agent/enroll", json=BODY | {"token": "rme_invented"})
    clock.now = NOW.replace(hour=14)
    expired = client.post("/agent/enroll", json=BODY | {"token": token})

    assert (unknown.status_code, unknown.json["error"]["code"]) == (401, "token_unknown")
    assert (expired.status_code, expired.json["error"]["code"]) == (410, "token_expired")
    assert expired.json["error"]["help"]


def test_guessing_tokens_is_slowed_down(client, app):
    for _ in range(ENROL_PER_ADDRESS.count):
        client.post("/agent/enroll", json=BODY | {"token": "rme_guess"})

    answer = client.post("/agent/enroll", json=BODY | {"token": "rme_guess"})

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_the_socket_without_a_credential_is_refused_in_the_contracts_shape(client, app):
    answer = client.get("/ws/agent", headers=HANDSHAKE)

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "credential_refused")
