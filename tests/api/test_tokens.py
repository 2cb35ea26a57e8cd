"""Tokens: what programs may do with them, and how they end."""

from datetime import timedelta

import pytest

from rm.services import api_tokens
from rm.store.models import ApiToken, AuditEntry, User, UserLink
from tests import cast
from tests.api.conftest import bearer


def made(parts, **values):
    """A token of alice's, and its row."""
    values = {"name": "script", "role": "admin", "tags": (), "days": 90, "actor": cast.ALICE} | values
    row, plain = api_tokens.create(parts.bus, now=parts.clock(), **values)
    return plain, row


def status_of(client, path="/api/v1/hosts"):
    return client.get(path).status_code


def test_a_program_uses_the_api_with_its_token_and_the_audit_names_it(app, parts, web1):
    plain, row = made(parts)

    answer = bearer(app, plain).post(f"/api/v1/hosts/{web1.id}/revoke")

    entry = AuditEntry.select().where(AuditEntry.action == "host.revoked").get()
    assert answer.status_code == 200
    assert (entry.actor_kind, entry.actor_name, entry.actor_id) == ("token", "script", row.id)


def test_a_token_is_stored_as_a_hash_and_never_shown_again(alice):
    answer = alice.post("/api/v1/tokens", json={"name": "grafana", "role": "viewer"})

    plain = answer.json["token"]
    assert answer.status_code == 201
    assert plain.startswith("rmt_")
    assert plain not in str(list(ApiToken.select().dicts())) + str(list(AuditEntry.select().dicts()))
    assert plain not in alice.get("/api/v1/tokens").text + alice.get(f"/api/v1/tokens/{answer.json['id']}").text


def test_it_ends_after_90_days_unless_said_otherwise(app, parts, clock, alice):
    plain = alice.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).json["token"]
    client = bearer(app, plain)

    clock.now += timedelta(days=90, seconds=-1)
    before = status_of(client)
    clock.now += timedelta(seconds=1)

    assert (before, status_of(client)) == (200, 401)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "role": "viewer"}, "name"), ({"name": "x\n", "role": "viewer"}, None),
        ({"name": "a\x07b", "role": "viewer"}, "name"), ({"name": "x", "role": "root"}, "role"),
        ({"name": "x", "role": "viewer", "expires_in_days": 366}, "expires_in_days"),
        ({"name": "x", "role": "viewer", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x", "role": "viewer", "tags": ["x" * 51]}, "tags"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(alice, body, field):
    answer = alice.post("/api/v1/tokens", json=body)

    if field is None:
        assert answer.status_code == 201
    else:
        assert (answer.status_code, list(answer.json["error"]["fields"])) == (422, [field])


def test_nobody_makes_a_token_that_can_do_more_than_they(bob, charlie):
    assert bob.post("/api/v1/tokens", json={"name": "x", "role": "admin"}).status_code == 422
    assert charlie.post("/api/v1/tokens", json={"name": "x", "role": "operator"}).status_code == 422
    assert bob.post("/api/v1/tokens", json={"name": "x", "role": "operator"}).status_code == 201


def test_a_token_loses_what_its_owner_loses_at_once(app, parts, web1):
    client = bearer(app, made(parts)[0])
    path = f"/api/v1/hosts/{web1.id}/revoke"

    User.update(role="viewer").where(User.id == "alice").execute()
    as_viewer = client.post(path)
    reading = status_of(client)
    User.update(is_enabled=False).where(User.id == "alice").execute()

    assert (as_viewer.status_code, reading, status_of(client)) == (403, 200, 401)
    assert "viewer" in as_viewer.json["error"]["message"]


def test_a_revoked_token_is_dead_at_once_and_its_end_is_audited_once(app, parts, alice):
    plain, row = made(parts)
    client = bearer(app, plain)
    before = status_of(client)

    answers = [alice.delete(f"/api/v1/tokens/{row.id}").status_code for _ in range(2)]

    assert (before, answers, status_of(client)) == (200, [204, 204], 401)
    assert AuditEntry.select().where(AuditEntry.action == "token.revoked").count() == 1


def test_a_refused_token_says_so_in_the_one_shape_of_errors_even_beside_a_good_session(alice):
    answer = alice.get("/api/v1/hosts", headers={"Authorization": "Bearer rmt_nonsense"})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "token_refused")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_without_any_credentials_the_way_in_is_named(client):
    assert client.get("/api/v1/hosts").headers["WWW-Authenticate"] == 'Bearer realm="restic-manager"'


def test_a_token_in_the_address_is_nothing(client, parts):
    plain, _ = made(parts)

    assert client.get(f"/api/v1/hosts?token={plain}&access_token={plain}").status_code == 401


@pytest.mark.parametrize("path", ["/", "/settings/tokens", "/live/fleet", "/api", "/jobs/x/log.txt"])
def test_a_token_opens_no_page_and_no_stream(app, parts, path):
    answer = bearer(app, made(parts)[0]).get(path)

    assert answer.status_code in (303, 401)


def test_a_token_needs_no_proof_of_origin_and_a_session_does(app, parts, alice, web1):
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    path = f"/api/v1/hosts/{web1.id}/revoke"

    with_session = alice.post(path, headers=elsewhere)
    with_token = bearer(app, made(parts)[0]).post(path, headers=elsewhere)

    assert (with_session.status_code, with_token.status_code) == (403, 200)


def test_another_scheme_leaves_the_session_alone(alice):
    assert alice.get("/api/v1/me", headers={"Authorization": "Basic eDp5"}).json["name"] == "alice"


def test_guessing_is_slowed_per_address_and_never_holds_up_a_good_token(app, parts):
    guesser, good = bearer(app, "rmt_guess"), bearer(app, made(parts)[0])

    answers = [guesser.get("/api/v1/hosts") for _ in range(22)]

    assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert status_of(good) == 200


def test_the_last_use_is_kept_with_its_address_at_most_once_a_minute(app, parts, clock):
    plain, row = made(parts)
    client = bearer(app, plain)
    seen = []

    for seconds in (0, 59, 1):
        clock.now += timedelta(seconds=seconds)
        client.get("/api/v1/me")
        seen.append(ApiToken.get_by_id(row.id).last_used_at)

    assert seen == [cast.NOW, cast.NOW, cast.NOW + timedelta(seconds=60)]
    assert ApiToken.get_by_id(row.id).last_address == "127.0.0.1"


def test_a_token_cannot_make_list_or_end_tokens(program):
    client = program("admin")

    answers = [
        client.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}), client.get("/api/v1/tokens"),
        client.delete("/api/v1/tokens/x"), client.get("/api/v1/tokens/x"),
    ]  # fmt: skip

    assert {(answer.status_code, answer.json["error"]["code"]) for answer in answers} == {(403, "person_needed")}


def test_refused_tokens_are_in_the_audit_with_their_address_and_without_what_was_tried(app, parts):
    for _ in range(2):
        assert bearer(app, "rmt_guessed-and-wrong").get("/api/v1/me").status_code == 401

    found = list(AuditEntry.select().where(AuditEntry.action == "token.refused"))
    assert [(one.actor_kind, one.actor_name, one.address) for one in found] == [
        ("token", "unknown token", "127.0.0.1")
    ] * 2
    assert "guessed" not in str([one.payload for one in found])


def test_a_token_lets_nobody_in_and_takes_no_way_around_its_owners_second_factor(program):
    """Else whoever finds an administrator's token makes an account of it, which stays when the token is revoked."""
    client, user = program("admin"), "/api/v1/users/alice"
    before = list(User.select().order_by(User.id).dicts())

    answers = [
        client.post("/api/v1/users", json={"username": "mallory", "role": "admin"}),
        client.put("/api/v1/users/bob", json={"role": "admin"}), client.post("/api/v1/users/bob/enable"),
        client.post(f"{user}/link"), client.post(f"{user}/reset-second-factor"),
    ]  # fmt: skip

    assert {(answer.status_code, answer.json["error"]["code"]) for answer in answers} == {(403, "person_needed")}
    assert list(User.select().order_by(User.id).dicts()) == before
    assert UserLink.select().count() == 0
    assert client.get("/api/v1/users").status_code == 200


def test_people_see_and_end_their_own_tokens_and_administrators_all(parts, alice, bob):
    _, of_alice = made(parts)
    _, of_bob = made(parts, role="viewer", actor=cast.BOB)

    assert [one["id"] for one in bob.get("/api/v1/tokens").json["items"]] == [of_bob.id]
    assert bob.delete(f"/api/v1/tokens/{of_alice.id}").status_code == 404
    assert len(alice.get("/api/v1/tokens").json["items"]) == 2
    assert alice.delete(f"/api/v1/tokens/{of_bob.id}").status_code == 204


def test_the_number_of_tokens_is_bounded(parts, alice, monkeypatch):
    monkeypatch.setattr(api_tokens, "MAX_TOKENS", 2)
    answers = [alice.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).status_code for _ in range(3)]

    assert answers == [201, 201, 409]


def test_who_calls_and_what_they_may_is_told(program, bob):
    token, person = program("operator", "web").get("/api/v1/me").json, bob.get("/api/v1/me").json

    assert (token["kind"], token["role"], token["tags"]) == ("token", "operator", ["web"])
    assert (person["kind"], person["name"], person["tags"]) == ("user", "bob", [])
    assert "jobs.run" in token["permissions"]
    assert "users.manage" not in token["permissions"]
