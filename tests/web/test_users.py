"""The people of the server in the browser: adding, links, roles, disabling, removing."""

from collections.abc import Callable

import pytest
from flask import Flask

from rm.domain.actors import Actor
from rm.runtime import Runtime
from rm.services import users
from rm.store.models import AuditEntry, Session, User, UserLink
from tests import cast
from tests.services.people import with_second_factor
from tests.web.conftest import Browser


def add(browser: Browser, username: str = "dora", role: str = "viewer") -> str:
    """The path of the page of a person that was added."""
    answer = browser.post("/settings/users", {"username": username, "role": role})
    assert answer.status == 303
    return str(answer.response.headers["Location"])


def link_on(browser: Browser, path: str) -> str:
    """The link's path that a person's page shows, this once."""
    return browser.get(path).text("#user-link").removeprefix("http://localhost")


def test_the_list_says_who_is_who(alice: Browser) -> None:
    page = alice.get("/settings/users")

    assert page.text("#users-title") == "3 users"
    assert "this is you" in page.text("#user-alice")
    assert "Operator" in page.text("#user-bob")


def test_who_is_added_gets_a_link_that_is_shown_once(alice: Browser) -> None:
    path = add(alice)

    assert alice.get(path).text("#user-link").startswith("http://localhost/choose-password?token=rml_")
    assert not alice.get(path).has("#user-link")
    assert "Invited" in alice.get("/settings/users").text("#users")


def test_with_the_link_a_person_chooses_a_password_and_is_signed_in(alice: Browser, stranger: Browser) -> None:
    link = link_on(alice, add(alice))

    moved = stranger.get(link)
    assert moved.response.headers["Location"] == "/choose-password"
    assert "HttpOnly" in moved.response.headers["Set-Cookie"]
    form = stranger.get("/choose-password")
    assert form.find("#username")["value"] == "dora"
    assert "alice made an account for you" in form.text()
    answer = stranger.post("/choose-password", {"password": cast.PASSWORD, "password_again": cast.PASSWORD})

    assert answer.response.headers["Location"] == "/"
    assert "dora" in stranger.get("/").text(".nav__user")
    assert stranger.get("/choose-password").status == 410


def test_two_different_or_short_passwords_are_refused_beside_their_field(alice: Browser, stranger: Browser) -> None:
    stranger.get(link_on(alice, add(alice)))

    differ = stranger.post("/choose-password", {"password": cast.PASSWORD, "password_again": "another"})
    short = stranger.post("/choose-password", {"password": "short", "password_again": "short"})

    assert "differ" in differ.text("#password_again-error")
    assert "12 characters" in short.text("#password-error")
    assert User.get(User.username == "dora").password_hash == ""


def test_a_used_or_invented_link_says_whom_to_ask(stranger: Browser) -> None:
    stranger.get("/choose-password?token=rml_invented")

    answer = stranger.get("/choose-password")

    assert answer.status == 410
    assert "Ask an administrator" in answer.text()


def test_a_link_ends_the_session_that_the_browser_had(alice: Browser, bob: Browser) -> None:
    bob.get(link_on(alice, add(alice)))

    bob.post("/choose-password", {"password": cast.PASSWORD, "password_again": cast.PASSWORD})

    assert Session.select().where(Session.user == "bob").count() == 0
    assert "dora" in bob.get("/").text(".nav__user")


def test_a_new_link_replaces_the_open_one(alice: Browser, stranger: Browser) -> None:
    path = add(alice)
    first = link_on(alice, path)

    alice.post(f"{path}/link")
    second = link_on(alice, path)

    stranger.get(first)
    assert stranger.get("/choose-password").status == 410
    stranger.get(second)
    assert stranger.get("/choose-password").status == 200


def test_an_open_link_is_withdrawn(alice: Browser) -> None:
    path = add(alice)

    alice.post(f"{path}/link/withdraw")

    assert UserLink.select().count() == 0
    assert "Cannot sign in" in alice.get(path).text()


@pytest.mark.parametrize(
    ("username", "role", "field"),
    [("x" * 200, "viewer", "username"), ("bob", "viewer", "username"), ("dora", "god", "role")],
)
def test_what_cannot_be_added_is_said_beside_its_field(alice: Browser, username: str, role: str, field: str) -> None:
    answer = alice.post("/settings/users", {"username": username, "role": role})

    assert answer.status in (409, 422)
    assert answer.text(f"#{field}-error")
    assert answer.find("#username")["value"] == username


def test_a_role_bites_at_the_next_request(alice: Browser, bob: Browser) -> None:
    assert bob.get("/audit").status == 200

    alice.post("/settings/users/bob/role", {"role": "viewer"})

    assert bob.get("/audit").status == 403
    assert bob.get("/").status == 200


def test_who_is_disabled_is_signed_out_at_once(alice: Browser, bob: Browser) -> None:
    alice.post("/settings/users/bob/disable")

    assert bob.get("/").response.headers["Location"] == "/login"
    assert bob.post("/login", {"username": "bob", "password": cast.PASSWORD}).status == 401
    alice.post("/settings/users/bob/enable")
    assert bob.post("/login", {"username": "bob", "password": cast.PASSWORD}).status == 303


def test_the_last_administrator_is_told_why_they_stay(alice: Browser) -> None:
    demoted = alice.post("/settings/users/alice/role", {"role": "viewer", "typed_name": "alice"})
    disabled = alice.post("/settings/users/alice/disable", {"typed_name": "alice"})
    removed = alice.post("/settings/users/alice/remove", {"typed_name": "alice"})

    assert [answer.status for answer in (demoted, disabled, removed)] == [409] * 3
    assert all("last enabled administrator" in answer.text() for answer in (demoted, disabled, removed))
    assert alice.get("/settings/users").status == 200


def test_acting_on_oneself_is_named_before_it_is_done(alice: Browser) -> None:
    User.update(role="admin").where(User.id == "bob").execute()

    for what in ("disable", "remove"):
        question = alice.get(f"/settings/users/alice/{what}")
        assert "your own account" in question.text("main")
        assert question.has("[name=typed_name]")
    assert "your own account" in alice.post("/settings/users/alice/disable").text()
    assert User.get_by_id("alice").is_enabled
    answer = alice.post("/settings/users/alice/role", {"role": "operator", "typed_name": "alice"})

    assert answer.response.headers["Location"] == "/settings"
    assert alice.get("/settings/users").status == 403


def test_removing_asks_for_the_name(alice: Browser) -> None:
    assert alice.post("/settings/users/bob/remove", {"typed_name": "charlie"}).status == 422

    answer = alice.post("/settings/users/bob/remove", {"typed_name": "bob"})

    assert answer.response.headers["Location"] == "/settings/users"
    assert User.get_or_none(User.id == "bob") is None
    assert alice.get("/settings/users/bob").status == 404


def test_of_somebody_from_the_provider_it_says_what_the_provider_will_undo(alice: Browser) -> None:
    """Otherwise "removed for good" lasts until their next sign-in, and so does a role."""
    before = alice.get("/settings/users/bob/remove").text("main"), alice.get("/settings/users/bob")
    User.update(oidc_issuer="https://id.example.net", oidc_subject="bob-subject").where(User.id == "bob").execute()

    question, person = alice.get("/settings/users/bob/remove").text("main"), alice.get("/settings/users/bob")

    assert "new account" in question and "new account" not in before[0]
    assert "next sign-in" in person.text("#role-from-provider")
    assert not before[1].has("#role-from-provider")


def test_a_lost_second_factor_is_taken_away(alice: Browser, parts: Runtime) -> None:
    with_second_factor(parts, cast.BOB)
    assert "your own" not in alice.get("/settings/users/bob/reset-second-factor").text("main")

    alice.post("/settings/users/bob/reset-second-factor")

    assert User.get_by_id("bob").totp_sealed is None
    assert alice.post("/settings/users/bob/reset-second-factor").status == 409


@pytest.mark.parametrize("name", ["{{7*7}}@x", "a'--", '"><b>x', "${x}", "../../x"])
def test_a_name_that_is_code_is_refused_or_shown_as_text(alice: Browser, name: str) -> None:
    answer = alice.post("/settings/users", {"username": name, "role": "viewer"})

    assert answer.status == 422
    assert answer.find("#username")["value"] == name
    assert not answer.has("main b")


def test_every_act_is_in_the_audit_with_who_did_it(alice: Browser) -> None:
    path = add(alice)
    for act, data in (
        ("link", {}), ("link/withdraw", {}), ("role", {"role": "operator"}), ("disable", {}), ("enable", {}),
        ("remove", {"typed_name": "dora"}),
    ):  # fmt: skip
        alice.post(f"{path}/{act}", data)

    found = [(entry.action, entry.actor_name, entry.target_name) for entry in AuditEntry.select()]
    assert found == [
        (f"user.{action}", "alice", "dora")
        for action in ("created", "link_made", "link_withdrawn", "role_set", "disabled", "enabled", "removed")
    ]
    page = alice.get("/audit").text("#audit")
    assert "made a link to choose a password for dora" in page


def test_one_person_shows_a_name_as_long_as_names_may_be(
    app: Flask, alice: Browser, browser_of: Callable[[Actor], Browser]
) -> None:
    path = add(alice, "x" * 64)

    assert alice.get(path).status == 200
    assert users.MOST_USERS == 1000
