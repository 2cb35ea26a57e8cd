"""The second factor in the browser: signing in with it, setting it up, recovery codes, switching it off.

Where a test wants both, `secret` comes before `alice`: switching it on ends the sessions that began without it.
"""

import re
from datetime import timedelta
from typing import Any

import pytest

from rm.runtime import Runtime
from rm.store.models import AuditEntry, Session, User
from tests import cast
from tests.conftest import Clock
from tests.services.people import code_at, with_second_factor
from tests.web.conftest import Browser, Page

PAGE = "/settings/account/second-factor"
CODES = "/settings/account/recovery-codes"


def password(browser: Browser, **more: str) -> Page:
    return browser.post("/login", {"username": "alice", "password": cast.PASSWORD} | more)


@pytest.fixture
def secret(parts: Runtime, clock: Clock) -> str:
    """Alice's second factor, set up two minutes ago."""
    found: tuple[str, Any] = with_second_factor(parts)
    clock.now += timedelta(minutes=2)
    return found[0]


def test_the_password_leads_to_the_code_and_the_code_to_where_one_was_going(
    stranger: Browser, secret: str, clock: Clock
) -> None:
    asked = password(stranger, next="/audit?q=x")

    assert asked.response.headers["Location"] == "/login/code?next=/audit%3Fq%3Dx"
    assert Session.select().count() == 0
    assert stranger.get("/").status == 303
    form = stranger.get(asked.response.headers["Location"])
    answer = stranger.post(
        "/login/code", {"code": code_at(secret, clock.now), "next": str(form.find("[name=next]")["value"])}
    )
    assert answer.response.headers["Location"] == "/audit?q=x"
    assert stranger.get("/audit").status == 200
    assert stranger.client.get_cookie("rm_step") is None


def test_a_wrong_code_says_how_many_tries_are_left(stranger: Browser, secret: str) -> None:
    password(stranger)

    answer = stranger.post("/login/code", {"code": "000000"})

    assert answer.status == 401
    assert "4 attempts left" in answer.text("[role=alert]")


def test_after_five_wrong_codes_one_begins_again(stranger: Browser, secret: str, clock: Clock) -> None:
    password(stranger)
    for _ in range(5):
        stranger.post("/login/code", {"code": "000000"})

    answer = stranger.post("/login/code", {"code": code_at(secret, clock.now)})

    assert answer.status == 401
    assert answer.has("#password")
    assert "Begin again" in answer.text("[role=alert]")


def test_too_many_codes_make_one_wait(stranger: Browser, secret: str) -> None:
    for _ in range(2):
        password(stranger)
        for _ in range(5):
            stranger.post("/login/code", {"code": "000000"})
    password(stranger)

    answer = stranger.post("/login/code", {"code": "000000"})

    assert answer.status == 429
    assert int(answer.response.headers["Retry-After"]) > 0


def test_without_a_password_there_is_no_code_to_enter(stranger: Browser, secret: str, clock: Clock) -> None:
    assert stranger.get("/login/code").response.headers["Location"] == "/login"
    assert stranger.post("/login/code", {"code": code_at(secret, clock.now)}).status == 401


def test_another_browser_cannot_enter_the_code_for_the_first(stranger: Browser, secret: str, clock: Clock) -> None:
    password(stranger)
    other = Browser(stranger.client.application.test_client())

    assert other.post("/login/code", {"code": code_at(secret, clock.now)}).status == 401


def test_the_code_does_not_lead_to_another_site(stranger: Browser, secret: str, clock: Clock) -> None:
    password(stranger)

    answer = stranger.post("/login/code", {"code": code_at(secret, clock.now), "next": "//evil.example/"})

    assert answer.response.headers["Location"] == "/"


def test_it_is_set_up_with_password_picture_and_code(alice: Browser, clock: Clock) -> None:
    began = alice.post(f"{PAGE}/begin", {"factor_password": cast.PASSWORD})
    assert began.response.headers["Location"] == PAGE
    form = alice.get(PAGE)
    secret = form.text("#secret").replace(" ", "")
    assert re.fullmatch("[A-Z2-7]{32}", secret)
    assert form.has(".qr path")

    done = alice.post(PAGE, {"code": code_at(secret, clock.now)})

    assert done.response.headers["Location"] == CODES
    codes = alice.get(CODES).text("#recovery-codes").split()
    assert len(codes) == 10
    assert alice.get(CODES).response.headers["Location"] == "/settings/account"
    assert alice.get(PAGE).response.headers["Location"] == "/settings/account"
    assert "10 recovery codes left" in alice.get("/settings/account").text("#second-factor")


def test_the_picture_has_nothing_that_the_content_policy_forbids(alice: Browser) -> None:
    alice.post(f"{PAGE}/begin", {"factor_password": cast.PASSWORD})

    page = alice.get(PAGE)

    assert not page.has("[style], style, .qr script, .qr a, .qr image")
    assert "style-src 'self'" in page.response.headers["Content-Security-Policy"]


def test_a_wrong_first_code_is_refused_beside_its_field(alice: Browser) -> None:
    alice.post(f"{PAGE}/begin", {"factor_password": cast.PASSWORD})

    answer = alice.post(PAGE, {"code": "000000"})

    assert answer.status == 422
    assert "wrong" in answer.text("#code-error")
    assert User.get_by_id("alice").totp_confirmed_at is None


def test_a_wrong_password_sets_nothing_up(alice: Browser) -> None:
    answer = alice.post(f"{PAGE}/begin", {"factor_password": "wrong"})

    assert answer.status == 422
    assert "present password" in answer.text("#factor_password-error")
    assert alice.get(PAGE).response.headers["Location"] == "/settings/account"


def test_recovery_codes_are_renewed_with_a_code(secret: str, alice: Browser, clock: Clock) -> None:
    refused = alice.post(CODES, {"renew_code": "000000"})
    assert refused.text("#renew_code-error")

    answer = alice.post(CODES, {"renew_code": code_at(secret, clock.now)})

    assert answer.response.headers["Location"] == CODES
    assert len(alice.get(CODES).text("#recovery-codes").split()) == 10


def test_switching_off_asks_for_password_and_code(secret: str, alice: Browser, clock: Clock) -> None:
    refused = alice.post(f"{PAGE}/off", {"off_password": "wrong", "off_code": code_at(secret, clock.now)})
    assert refused.text("#off_password-error")
    refused = alice.post(f"{PAGE}/off", {"off_password": cast.PASSWORD, "off_code": "1"})
    assert refused.text("#off_code-error")
    assert refused.has("details.fold[open]")

    alice.post(f"{PAGE}/off", {"off_password": cast.PASSWORD, "off_code": code_at(secret, clock.now)})

    assert User.get_by_id("alice").totp_sealed is None
    assert "Off" in alice.get("/settings/account").text("#second-factor")


def test_no_secret_is_in_the_audit(secret: str, alice: Browser, clock: Clock) -> None:
    alice.post(CODES, {"renew_code": code_at(secret, clock.now)})

    assert "second_factor.codes_renewed" in [entry.action for entry in AuditEntry.select()]
    assert secret not in str([entry.payload for entry in AuditEntry.select()])
