"""The agents' door over HTTP: getting in, fetching the program, and being refused."""

import hashlib

import pytest

from rm.agent_link import endpoint
from rm.domain.limits import DOWNLOAD_PER_ADDRESS, ENROL_PER_ADDRESS
from rm.services import enrolments, hosts, pending_hosts
from rm.store.models import Host
from tests.cast import ALICE, NOW

BODY = {"hostname": "web9", "os": "linux", "arch": "amd64", "agent_version": "0.1.0", "agent_seq": 1, "machine_id": "m"}
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade"}


@pytest.fixture
def token(bus):
    return enrolments.mint_token(bus, actor=ALICE, now=NOW)[1]


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    file = tmp_path / "rm-agent"
    file.write_bytes(b"#!/usr/bin/env python3\nzip")
    monkeypatch.setattr(endpoint, "ARTIFACT", file)
    return file


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


def test_the_agent_is_handed_out_for_a_token_and_for_a_credential(client, token, web1, artifact):
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()

    for secret in (token, web1.credential):
        answer = client.get("/agent/binary?os=linux&arch=amd64", headers=bearer(secret))
        assert (answer.status_code, answer.data) == (200, artifact.read_bytes())
        assert answer.headers["ETag"] == f'"{digest}"'


def test_a_download_goes_on_where_it_stopped(client, web1, artifact):
    answer = client.get("/agent/binary", headers=bearer(web1.credential) | {"Range": "bytes=5-"})

    assert (answer.status_code, answer.data) == (206, artifact.read_bytes()[5:])


@pytest.mark.parametrize("secret", ["", "invented"])
def test_strangers_get_the_agent_slowly_while_hosts_may_announce_themselves(client, app, artifact, secret):
    answers = [client.get("/agent/binary", headers=bearer(secret)) for _ in range(DOWNLOAD_PER_ADDRESS.count + 1)]

    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert (answers[-1].status_code, answers[-1].json["error"]["code"]) == (429, "too_many")
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_known_hosts_are_not_slowed_down_by_strangers_behind_the_same_address(client, web1, artifact):
    for _ in range(DOWNLOAD_PER_ADDRESS.count + 1):
        client.get("/agent/binary")

    assert client.get("/agent/binary", headers=bearer(web1.credential)).status_code == 200


@pytest.mark.parametrize("secret", ["", "invented"])
def test_strangers_get_no_agent_while_announcing_is_off(client, bus, artifact, secret):
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)

    assert client.get("/agent/binary", headers=bearer(secret)).status_code == 401


def test_a_revoked_host_gets_no_agent_while_announcing_is_off(client, bus, web1, artifact):
    pending_hosts.set_announcing(bus, is_enabled=False, actor=ALICE, now=NOW)
    hosts.revoke_credential(bus, host_id=web1.id, actor=ALICE, now=NOW)

    assert client.get("/agent/binary", headers=bearer(web1.credential)).status_code == 401


def test_a_server_without_an_agent_says_so(client, web1, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "ARTIFACT", tmp_path / "nothing")

    answer = client.get("/agent/binary", headers=bearer(web1.credential))

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_artifact")


def test_another_sha256_than_ours_is_not_found(client, web1, artifact):
    assert client.get(f"/agent/binary?sha256={'0' * 64}", headers=bearer(web1.credential)).status_code == 404


def test_the_socket_without_a_credential_is_refused_in_the_contracts_shape(client, app):
    answer = client.get("/ws/agent", headers=HANDSHAKE)

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "credential_refused")
