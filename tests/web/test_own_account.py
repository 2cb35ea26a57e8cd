"""One's own account in the browser: password and sessions."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from rm.domain.actors import Actor
from rm.services import api_tokens, sessions
from rm.store.models import ApiToken, Session, User
from rm.web import browser_words
from tests import cast
from tests.services.people import session_of
from tests.web.conftest import Browser

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
EDGE = f"{CHROME} Edg/140.0.0.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"), (CHROME, "Chrome on Windows"), (EDGE, "Edge on Windows"),
        (SAFARI, "Safari on an iPhone"), ("curl/8.5.0", "Curl"), ("", "A program that does not say what it is"),
        ("\x00<script>", "Another program"), ("python-requests/2.32", "A Python program"),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_words(agent: str, words: str) -> None:
    assert browser_words.said(agent) == words


def test_every_role_sees_its_own_account(charlie: Browser) -> None:
    page = charlie.get("/settings/account")

    assert page.status == 200
    assert "this one" in page.text("#sessions")
    assert page.find(".nav__user [href='/settings/account']")


def test_the_password_is_changed_and_the_browser_stays_signed_in(alice: Browser) -> None:
    other = session_of("alice")
    before = alice.client.get_cookie("rm_session")

    answer = alice.post(
        "/settings/account/password",
        {"current": cast.PASSWORD, "password": "another one of mine", "password_again": "another one of mine"},
    )

    after = alice.client.get_cookie("rm_session")
    assert answer.response.headers["Location"] == "/settings/account"
    assert before and after and before.value != after.value
    assert alice.get("/settings/account").status == 200
    assert sessions.find(other, cast.NOW) is None
    assert sessions.find(before.value, cast.NOW) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"current": "wrong"}, "current"),
        ({"password": "short", "password_again": "short"}, "password"),
        ({"password_again": "other"}, "password_again"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(alice: Browser, changes: dict[str, str], field: str) -> None:
    form = {"current": cast.PASSWORD, "password": "another one of mine", "password_again": "another one of mine"}

    answer = alice.post("/settings/account/password", form | changes)

    assert answer.status == 422
    assert answer.text(f"#{field}-error")
    assert "another one of mine" not in answer.response.text


def test_guessing_at_an_open_page_makes_one_wait(alice: Browser) -> None:
    form = {"current": "wrong", "password": "another one of mine", "password_again": "another one of mine"}
    for _ in range(5):
        alice.post("/settings/account/password", form)

    answer = alice.post("/settings/account/password", form)

    assert answer.status == 429
    assert int(answer.response.headers["Retry-After"]) > 0
    assert "Too many" in answer.text("#current-error")


def test_the_list_says_where_one_is_signed_in(alice: Browser) -> None:
    session_of("alice", user_agent=FIREFOX, address="203.0.113.9", method="totp", now=cast.NOW - timedelta(hours=1))
    session_of("bob", address="203.0.113.77")

    page = alice.get("/settings/account")

    assert page.text("#sessions").count("this one") == 1
    assert "Firefox on Linux" in page.text("#sessions")
    assert "203.0.113.9" in page.text("#sessions")
    assert "password and code" in page.text("#sessions")
    assert "203.0.113.77" not in page.text("#sessions")


def test_one_session_is_ended(alice: Browser, browser_of: Callable[[Actor], Browser]) -> None:
    elsewhere = browser_of(cast.ALICE)
    forms = alice.get("/settings/account").soup.select("#sessions td form")
    assert len(forms) == 1

    alice.post(str(forms[0]["action"]))

    assert elsewhere.get("/").status == 303
    assert alice.get("/").status == 200


def test_all_others_are_ended(alice: Browser, browser_of: Callable[[Actor], Browser]) -> None:
    elsewhere = [browser_of(cast.ALICE) for _ in range(3)]

    alice.post("/settings/account/sessions/revoke-others")

    assert [browser.get("/").status for browser in elsewhere] == [303] * 3
    assert alice.get("/").status == 200


def test_nobody_ends_the_session_of_another(alice: Browser, charlie: Browser) -> None:
    hers = Session.get(Session.user == "alice").id

    assert charlie.post(f"/settings/account/sessions/{hers}/revoke").status == 404
    assert alice.get("/").status == 200


def test_a_changed_password_says_what_becomes_of_tokens_and_revokes_them_if_wanted(alice: Browser, bus) -> None:
    without = alice.get("/settings/account").has("#revoke_tokens")
    for name in ("one", "two"):
        api_tokens.create(bus, name=name, role="viewer", tags=(), days=9, actor=cast.ALICE, now=cast.NOW)
    page = alice.get("/settings/account")

    new = {"current": cast.PASSWORD, "password": "another one of mine", "password_again": "another one of mine"}
    alice.post("/settings/account/password", new | {"revoke_tokens": "yes"})

    assert not without
    assert "Revoke my 2 API tokens too" in page.text("#password-form")
    assert "they stay good" in page.text("#password-form")
    assert all(token.revoked_at == cast.NOW for token in ApiToken.select())


def test_who_signs_in_through_the_provider_sees_no_password_form(alice: Browser) -> None:
    User.update(password_hash="", oidc_subject="s", oidc_issuer="i").where(User.id == "alice").execute()

    page = alice.get("/settings/account")

    assert not page.has("#password-form")
    assert "through your provider" in page.text()


def test_what_a_browser_says_it_is_is_shown_as_text(alice: Browser) -> None:
    session_of("alice", user_agent='"><script>alert(1)</script>')

    page = alice.get("/settings/account")

    assert not page.has("#sessions script")
