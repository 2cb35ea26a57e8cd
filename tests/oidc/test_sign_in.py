"""The whole way through a real provider: who gets in, as what, and who does not."""

import dataclasses
import logging
from datetime import timedelta

import pytest

from rm.services import oidc_provider, sessions
from rm.store.models import AuditEntry, OidcLogin, Session, User
from tests import cast
from tests.conftest import QUICK_HASH
from tests.oidc.conftest import query
from tests.oidc.provider import CLIENT_SECRET
from tests.web.conftest import Browser


def refusals():
    return [(entry.actor_name, entry.payload["reason"]) for entry in entries("user.oidc_refused")]


def entries(action):
    return list(AuditEntry.select().where(AuditEntry.action == action).order_by(AuditEntry.id))


def user(name):
    return User.get_or_none(User.username == name)


def test_erin_signs_in_and_goes_where_she_was_going(person, provider):
    erin = person("erin")

    back = erin.sign_in("/audit?q=x")

    assert back.status == 303, back.text()
    assert back.response.headers["Location"] == "/audit?q=x"
    assert erin.who() == "erin"
    row = user("erin")
    assert (row.role, row.password_hash, row.oidc_issuer, row.oidc_subject) == (
        "admin", "", provider.issuer, "erin-subject",
    )  # fmt: skip
    assert Session.get(Session.user == row.id).method == "oidc"
    assert [entry.target_name for entry in entries("user.created")] == ["erin"]
    assert [entry.actor_name for entry in entries("user.logged_in")] == ["erin"]
    assert OidcLogin.select().count() == 0


def test_the_second_sign_in_is_the_same_account(person):
    person("erin").sign_in()
    person("erin").sign_in()

    assert User.select().where(User.username == "erin").count() == 1
    assert Session.select().where(Session.user == user("erin").id).count() == 2


def test_who_has_no_role_is_refused_and_gets_no_account(person):
    gary = person("gary")

    back = gary.sign_in()

    assert back.status == 403
    assert "none of your groups or roles" in back.text("#refused")
    assert gary.who() is None
    assert user("gary") is None
    assert refusals() == [("somebody at the provider", "no_role")]
    assert entries("user.oidc_refused")[0].payload["subject"] == "gary-subject"


def test_a_name_that_a_local_account_has_is_refused_and_never_joined(person):
    before = user("alice")
    alice = person("alice")

    back = alice.sign_in()

    assert back.status == 403
    assert "account of your name" in back.text("#refused")
    assert alice.who() is None
    after = user("alice")
    assert (after.role, after.oidc_subject, after.password_hash) == (before.role, "", before.password_hash)
    assert refusals() == [("somebody at the provider", "name_taken")]


def test_a_way_back_that_was_used_is_over(person):
    erin = person("erin")
    back = erin.at_provider(erin.begin())
    assert erin.come_back(back).status == 303
    erin.ours.post("/logout")

    again = erin.come_back(back)

    assert again.status == 403
    assert erin.who() is None
    assert refusals() == [("somebody at the provider", "no_such_sign_in")]


def test_a_way_back_in_another_browser_is_refused_and_stays_good_in_the_right_one(person):
    erin, mallory = person("erin"), person("mallory")
    mallory.begin()
    back = erin.at_provider(erin.begin())

    assert mallory.come_back(back).status == 403
    assert person("nobody").come_back(back).status == 403
    assert mallory.who() is None
    assert refusals() == [("somebody at the provider", "other_browser")] * 2
    assert erin.come_back(back).status == 303


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda url: url.replace("state=", "state=x"), "no_such_sign_in"),
        (lambda url: url.replace("state=", "stale="), "no_such_sign_in"),
        (lambda url: url.replace("code=", "code=x"), "code_refused"),
        (lambda url: url.replace("code=", "core="), "not_an_answer"),
        (lambda url: url.replace("iss=http", "iss=https"), "other_issuer"),
        (lambda url: url.replace("code=", "error=access_denied&code="), "denied"),
    ],
    ids=["state", "no-state", "code", "no-code", "issuer", "denied"],
)
def test_a_way_back_that_was_changed_is_refused(person, change, reason):
    erin = person("erin")
    back = change(erin.at_provider(erin.begin()))

    assert erin.come_back(back).status == 403
    assert erin.who() is None
    assert refusals() == [("somebody at the provider", reason)]


def test_words_in_the_address_are_not_repeated_on_the_page(person):
    erin = person("erin")
    state = query(erin.begin())["state"]

    back = erin.come_back(f"/login/oidc/callback?state={state}&error=<b>call+0900</b>&error_description=call+0900")

    assert back.status == 403
    assert "0900" not in back.text()


def test_a_way_back_after_ten_minutes_is_over(person, clock):
    erin = person("erin")
    back = erin.at_provider(erin.begin())
    clock.now += timedelta(minutes=10, seconds=1)

    assert erin.come_back(back).status == 403
    assert refusals() == [("somebody at the provider", "no_such_sign_in")]


def test_a_token_that_has_expired_is_refused(person, clock):
    clock.now += timedelta(days=400)
    erin = person("erin")

    back = erin.sign_in()

    assert back.status == 403
    assert erin.who() is None
    assert refusals() == [("somebody at the provider", "bad_token")]


def test_a_token_for_another_nonce_is_refused(person):
    erin = person("erin")
    back = erin.at_provider(erin.begin())
    OidcLogin.update(nonce="of another sign-in").execute()

    assert erin.come_back(back).status == 403
    assert refusals() == [("somebody at the provider", "bad_token")]


def test_the_provider_checks_the_verifier_so_a_stolen_code_is_worth_nothing(person, vault):
    erin = person("erin")
    back = erin.at_provider(erin.begin())
    place = f"oidc_logins.verifier:{OidcLogin.get().state_hash}"
    assert len(vault.unseal(OidcLogin.get().verifier_sealed, place=place)) >= 43
    OidcLogin.update(verifier_sealed=vault.seal("v" * 64, place=place)).execute()

    assert erin.come_back(back).status == 403
    assert refusals() == [("somebody at the provider", "code_refused")]


def test_another_role_at_the_provider_counts_from_the_next_sign_in(person, provider):
    first = person("oscar")
    first.sign_in()
    assert user("oscar").role == "operator"

    provider.put_into("rm-admins", "erin", "victor", "oscar")
    second = person("oscar")
    second.sign_in()
    assert user("oscar").role == "admin"
    assert first.who() is None, "a session from before must not inherit more than it had"
    assert second.who() == "oscar"
    change = entries("user.role_set")[0].payload
    assert (change["before"], change["after"], change["by"]) == ("operator", "admin", "the provider")

    provider.put_into("rm-admins", "erin", "victor")
    provider.put_into("rm-operators", "gary")
    provider.put_into("gardeners", "oscar", "heidi")
    refused = person("oscar").sign_in()
    assert refused.status == 403
    assert second.who() is None, "who may not sign in any more must not stay signed in"
    assert refusals() == [("oscar", "no_role")]
    provider.put_into("rm-operators", "oscar")
    provider.put_into("gardeners", "gary", "heidi")


def test_another_name_at_the_provider_keeps_the_account(person, provider):
    person("peggy").sign_in()
    before = user("peggy").id

    provider.call("peggy", "margaret")
    peggy = person("peggy")
    back = peggy.sign_in()

    assert back.status == 303
    assert peggy.who() == "peggy"
    assert user("peggy").id == before
    assert user("margaret") is None


def test_the_account_of_another_subject_is_not_taken_over_by_name(person):
    person("erin").sign_in()
    User.update(oidc_subject="somebody else").where(User.username == "erin").execute()

    assert person("erin").sign_in().status == 403
    assert refusals() == [("somebody at the provider", "name_taken")]


def test_a_disabled_account_stays_out(person):
    person("heidi").sign_in()
    User.update(is_enabled=False).where(User.username == "heidi").execute()
    heidi = person("heidi")

    assert heidi.sign_in().status == 403
    assert heidi.who() is None
    assert refusals() == [("heidi", "disabled")]


def test_the_provider_cannot_take_the_last_administrator_away(person, provider):
    first = person("victor")
    first.sign_in()
    User.update(password_hash=QUICK_HASH).where(User.username == "victor").execute()
    User.update(is_enabled=False).where(User.username == "alice").execute()
    provider.put_into("rm-admins", "erin")
    provider.put_into("rm-viewers", "alice", "peggy", "heidi", "victor")

    back = person("victor").sign_in()

    assert back.status == 403
    assert "you are the last one" in back.text("#refused")
    assert user("victor").role == "admin"
    assert first.who() is None
    assert refusals() == [("victor", "last_admin")]

    User.update(is_enabled=True).where(User.username == "alice").execute()
    assert person("victor").sign_in().status == 303
    assert user("victor").role == "viewer"
    provider.put_into("rm-admins", "erin", "victor")
    provider.put_into("rm-viewers", "alice", "peggy", "heidi")


def test_a_provider_that_is_down_is_told_and_a_password_still_opens(person, provider, monkeypatch):
    monkeypatch.setattr(oidc_provider, "AWAY_SECONDS", 0)
    erin = person("erin")
    back = erin.at_provider(erin.begin())
    provider.stop()
    try:
        half_way = erin.come_back(back)
        other = create_other(erin)
        at_start = other.post("/login/oidc")
        break_glass = other.post("/login", {"username": "alice", "password": cast.PASSWORD})
    finally:
        provider.start()

    assert (half_way.status, at_start.status) == (503, 503)
    assert "cannot be reached" in at_start.text("#refused")
    assert at_start.find("#refused a")["href"] == "/login"
    assert break_glass.status == 303
    assert {reason for _, reason in refusals()} == {"provider_away"}
    assert person("erin").sign_in().status == 303


def create_other(erin):
    """A browser of the same server, whose provider was never asked before."""
    app = erin.ours.client.application
    app.extensions["rm"].oidc = oidc_provider.NetworkProvider(app.extensions["rm"].oidc.client)
    return Browser(app.test_client())


def test_a_second_factor_that_is_set_here_is_asked_for_here(person, clock):
    person("erin").sign_in()
    User.update(totp_sealed=b"-", totp_confirmed_at=clock.now).where(User.username == "erin").execute()
    erin = person("erin")

    back = erin.sign_in("/audit")

    assert back.response.headers["Location"].startswith("/login/code")
    assert erin.who() is None


def test_a_session_from_before_ends_with_the_sign_in(person, clock):
    erin = person("erin")
    charlie = User.get_by_id("charlie")
    planted = sessions.open_session(charlie, method="password", address="", user_agent="", now=clock.now)
    erin.ours.client.set_cookie("rm_session", planted, domain="localhost")

    erin.sign_in()

    assert erin.ours.client.get_cookie("rm_session").value != planted
    assert sessions.find_user(planted, clock.now) is None
    assert erin.who() == "erin"


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https:evil.example", "https://evil.example/", "\t//evil.example",
               "/%09/evil.example\n", "javascript:alert(1)", "/" + "x" * 5000],
)  # fmt: skip
def test_no_sign_in_leads_to_another_site(person, target):
    erin = person("erin")

    back = erin.sign_in(target)

    assert back.status == 303
    assert back.response.headers["Location"] == "/"


def test_another_site_cannot_begin_a_sign_in(person):
    erin = person("erin")

    cross = erin.ours.client.post("/login/oidc", headers={"Sec-Fetch-Site": "cross-site"})
    linked = erin.ours.get("/login/oidc?next=/audit")

    assert cross.status_code == 403
    assert linked.response.headers["Location"] == "/login?next=/audit"
    assert OidcLogin.select().count() == 0


def test_nothing_secret_is_on_pages_in_the_log_or_in_the_audit(person, caplog):
    caplog.set_level(logging.INFO)
    erin = person("erin")
    there = erin.begin()
    back = erin.at_provider(there)
    erin.come_back(back)
    erin.come_back(back)

    told = caplog.text + "".join(f"{entry.payload}{entry.target_name}" for entry in AuditEntry.select())
    assert CLIENT_SECRET not in there
    for secret in (CLIENT_SECRET, query(back)["code"], query(there)["nonce"], query(there)["code_challenge"]):
        assert secret not in told


def test_the_way_there_asks_for_a_code_with_pkce_and_comes_back_to_the_base_url(person):
    asked = query(person("erin").begin())

    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) > 40
    assert len(asked["nonce"]) > 40
    assert asked["redirect_uri"] == "http://localhost/login/oidc/callback"
    assert asked["scope"] == "openid profile groups"


def test_the_host_header_does_not_choose_where_the_provider_sends_people(app):
    page = Browser(app.test_client()).post("/login/oidc", base_url="http://evil.example")

    assert "evil" not in str(page.soup)


def test_the_cookie_of_the_way_is_the_browsers_alone(person):
    answer = person("erin").ours.post("/login/oidc").response

    cookie = next(value for value in answer.headers.getlist("Set-Cookie") if value.startswith("rm_oidc="))
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))


def test_many_tries_from_one_address_are_slowed(person):
    erin = person("erin")

    statuses = [erin.ours.get("/login/oidc/callback?state=x&code=y").status for _ in range(62)]

    assert statuses[0] == 403
    assert statuses[-1] == 429
    assert len(refusals()) == 60


def test_before_the_first_administrator_nobody_comes_in_through_the_provider(person):
    User.delete().execute()

    page = person("erin").ours.post("/login/oidc")

    assert page.status == 403
    assert "setup link" in page.text("#refused")


def test_the_sign_in_page_offers_the_provider_and_keeps_the_way(stranger):
    page = stranger.get("/login?next=/audit")

    assert page.text("#oidc button") == "Sign in with Canaille"
    assert page.find("#oidc [name=next]")["value"] == "/audit"
    assert page.find("#oidc")["action"] == "/login/oidc"


def test_without_a_provider_nothing_is_offered(app, settings, stranger, parts):
    parts.oidc = None

    assert not stranger.get("/login").has("#oidc")
    assert stranger.post("/login/oidc").status == 404
    assert stranger.get("/login/oidc/callback?state=x&code=y").status == 404
    assert dataclasses.replace(settings, oidc_issuer="").has_oidc is False
