"""Announced hosts, alerts, renewals and tokens through the API."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rm.services import alerts, pending_hosts
from rm.services.enrolments import Applicant
from rm.store.models import Host, HostCredential
from tests.cast import NOW


@pytest.fixture
def web9(bus, app):
    key = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    applicant = Applicant("web9", "linux", "amd64", "0.1.0", 1, "m9")
    return pending_hosts.announce(bus, applicant=applicant, public_key=key, address="192.0.2.44", now=NOW)


@pytest.fixture
def alert(bus, web1):
    return alerts.raise_alert(
        bus, kind="certificate_or_key_problem", condition="c", host_id=web1.id, message="Two.", now=NOW
    )


def test_announced_hosts_are_listed_with_all_that_a_decision_needs(charlie, web9, web1):
    Host.update(hostname="WEB9", machine_id="m9").execute()

    answer = charlie.get("/api/v1/pending-hosts")

    [item] = answer.json["items"]
    assert answer.json["next"] is None
    assert (item["id"], item["state"], item["fingerprint"]) == (web9.id, "waiting", web9.fingerprint)
    assert item["same_name"] == {"host_ids": [web1.id], "pending_ids": []}
    assert item["looks_like_host_id"] == web1.id
    assert "public_key" not in item
    assert "nonce" not in item


def test_a_long_list_says_how_to_go_on(charlie, web9):
    answer = charlie.get("/api/v1/pending-hosts?limit=1&offset=0")
    beyond = charlie.get("/api/v1/pending-hosts?limit=1&offset=1")

    assert (answer.json["next"], beyond.json["items"]) == (None, [])
    assert charlie.get("/api/v1/pending-hosts?limit=9999").status_code == 422


def test_an_administrator_approves_and_rejects(alice, web9):
    approved = alice.post(f"/api/v1/pending-hosts/{web9.id}/approve")
    rejected = alice.post(f"/api/v1/pending-hosts/{web9.id}/reject")
    again = alice.post(f"/api/v1/pending-hosts/{web9.id}/approve")

    assert (approved.status_code, approved.json["state"], approved.json["decided_by"]) == (200, "approved", "alice")
    assert rejected.json["state"] == "rejected"
    assert (again.status_code, again.json["error"]["code"]) == (409, "rejected")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_others_may_not_decide(bob, client, web9, verb):
    assert bob.post(f"/api/v1/pending-hosts/{web9.id}/{verb}").status_code == 403
    assert client.post(f"/api/v1/pending-hosts/{web9.id}/{verb}").status_code == 401


def test_an_unknown_announced_host_is_not_found(alice):
    assert alice.get("/api/v1/pending-hosts/x").status_code == 404
    assert alice.post("/api/v1/pending-hosts/x/approve").status_code == 404


def test_alerts_have_the_shape_of_the_contract_and_go_through_their_states(bob, alert, web1):
    [item] = bob.get("/api/v1/alerts?state=open").json["items"]
    acknowledged = bob.post(f"/api/v1/alerts/{alert.id}/acknowledge")
    resolved = bob.post(f"/api/v1/alerts/{alert.id}/resolve")

    wanted = {"id", "kind", "severity", "state", "host_id", "message", "first_seen_at", "last_seen_at", "count"}
    assert wanted <= set(item)
    assert (item["state"], item["host_id"], item["count"]) == ("raised", web1.id, 1)
    assert (acknowledged.json["state"], acknowledged.json["acknowledged_by"]) == ("acknowledged", "bob")
    assert (resolved.json["state"], resolved.json["resolved_by"]) == ("resolved", "bob")
    assert bob.get("/api/v1/alerts?state=open").json == {"items": [], "next": None}
    assert bob.post(f"/api/v1/alerts/{alert.id}/acknowledge").status_code == 409


def test_a_viewer_reads_alerts_and_changes_none(charlie, alert):
    assert charlie.get("/api/v1/alerts").json["items"][0]["id"] == alert.id
    assert charlie.post(f"/api/v1/alerts/{alert.id}/resolve").status_code == 403


@pytest.mark.parametrize("query", ["state=invented", "limit=x", "offset=-1"])
def test_a_senseless_question_about_alerts_is_refused(charlie, query):
    assert charlie.get(f"/api/v1/alerts?{query}").status_code == 422


def test_a_credential_is_renewed_by_administrators_and_never_shown(alice, bob, web1):
    Host.update(first_hello_at=NOW).execute()

    answer = alice.post(f"/api/v1/hosts/{web1.id}/renew-credential")

    assert (answer.status_code, set(answer.json)) == (202, {"host_id", "ordered_at"})
    assert HostCredential.select().count() == 2
    assert bob.post(f"/api/v1/hosts/{web1.id}/renew-credential").status_code == 403


def test_one_tagged_token_lets_many_hosts_in(bob, client):
    made = bob.post("/api/v1/enrolment-tokens", json={"max_uses": 3, "expires_in_seconds": 600, "tags": ["web", "eu"]})
    body = {"token": made.json["token"], "os": "linux", "arch": "amd64", "agent_version": "0", "agent_seq": 0}

    answers = [
        client.post("/agent/enroll", json=body | {"hostname": f"h{number}", "machine_id": f"m{number}"})
        for number in range(4)
    ]

    assert made.status_code == 201
    assert made.json["token"] in made.json["install_command"]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 410]
    assert answers[3].json["error"]["code"] == "token_used"
    assert all(item["tags"] == ["eu", "web"] for item in bob.get("/api/v1/hosts").json["items"])
    assert len(bob.get("/api/v1/hosts?tag=eu").json["items"]) == 3


def test_open_tokens_are_listed_and_a_revoked_one_lets_nobody_in(alice, bob, charlie, client):
    made = [bob.post("/api/v1/enrolment-tokens", json={"max_uses": 2}).json for _ in range(3)]
    first = bob.get("/api/v1/enrolment-tokens?limit=2").json
    rest = bob.get(f"/api/v1/enrolment-tokens?limit=2&offset={first['next']}").json
    path = f"/api/v1/enrolment-tokens/{made[0]['id']}"
    refused = charlie.delete(path).status_code

    ended = [alice.delete(path).status_code for _ in range(2)]

    assert {item["id"] for item in first["items"] + rest["items"]} == {one["id"] for one in made}
    assert (len(first["items"]), rest["next"], refused, ended) == (2, None, 403, [204, 204])
    assert not any(one["token"] in str(first) for one in made)
    body = {"token": made[0]["token"], "hostname": "a", "machine_id": "a"}
    assert client.post("/agent/enroll", json=body).json["error"]["code"] == "token_revoked"
    assert bob.get(path).json["is_open"] is False
    assert len(bob.get("/api/v1/enrolment-tokens").json["items"]) == 2


def test_a_token_by_default_is_for_one_host_and_one_hour(bob, client):
    made = bob.post("/api/v1/enrolment-tokens", json={})

    assert made.json["expires_at"] == "2026-11-23T13:00:00.000000Z"
    body = {"token": made.json["token"], "hostname": "a", "machine_id": "a"}
    assert client.post("/agent/enroll", json=body).status_code == 201
    assert client.post("/agent/enroll", json=body | {"machine_id": "b"}).status_code == 410
