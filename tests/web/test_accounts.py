"""Signing in and out, and the first account."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Flask

from rm.domain.actors import Actor
from rm.runtime import Runtime
from rm.services import first_run, passwords
from rm.store.models import AuditEntry, Session, User
from tests import cast
from tests.conftest import Clock
from tests.web.conftest import Browser


def open_setup() -> str:
    User.delete().execute()
    token = first_run.open_setup(fixed_token="let-me-in", now=cast.NOW)
    assert token is not None
    return token


def test_a_person_signs_in_and_goes_where_they_were_going(stranger: Browser, web1: cast.EnrolledHost) -> None:
    asked = stranger.get(f"/hosts/{web1.id}?x=1").response.headers["Location"]
    form = stranger.get(asked)

    answer = stranger.post(
        "/login", {"username": "alice", "password": cast.PASSWORD, "next": str(form.find("[name=next]")["value"])}
    )

    assert answer.response.headers["Location"] == f"/hosts/{web1.id}?x=1"
    assert stranger.get("/").status == 200


def test_a_wrong_password_keeps_the_name_but_not_the_password(stranger: Browser) -> None:
    answer = stranger.post("/login", {"username": "alice", "password": "guess-number-one"})

    assert answer.status == 401
    assert "wrong" in answer.text("[role=alert]")
    assert answer.find("#username")["value"] == "alice"
    assert "guess-number-one" not in answer.response.text


def test_too_many_wrong_passwords_make_one_wait(stranger: Browser) -> None:
    for _ in range(5):
        stranger.post("/login", {"username": "alice", "password": "wrong"})

    answer = stranger.post("/login", {"username": "alice", "password": cast.PASSWORD})

    assert answer.status == 429
    assert int(answer.response.headers["Retry-After"]) > 0
    assert "Too many" in answer.text("[role=alert]")


def test_signing_out_ends_the_session_on_the_server(alice: Browser) -> None:
    answer = alice.post("/logout")

    assert answer.response.headers["Location"] == "/login"
    assert Session.select().count() == 0
    assert alice.get("/").status == 303


def test_signing_out_twice_is_no_error(stranger: Browser) -> None:
    assert stranger.post("/logout").status == 303


def test_who_is_signed_in_does_not_see_the_form_again(alice: Browser) -> None:
    assert alice.get("/login?next=/audit").response.headers["Location"] == "/audit"


def test_before_the_first_account_the_login_page_says_where_the_link_is(stranger: Browser) -> None:
    open_setup()

    page = stranger.get("/login")

    assert "setup link" in page.text(".card")
    assert not page.has("input[type=password]")


def test_the_setup_token_leaves_the_address_at_once(stranger: Browser) -> None:
    open_setup()

    answer = stranger.get("/setup?token=let-me-in")

    assert answer.response.headers["Location"] == "/setup"
    assert "HttpOnly" in answer.response.headers["Set-Cookie"]
    assert stranger.get("/setup").has("form[action='/setup']")


def test_the_first_account_is_an_administrator_and_is_signed_in(stranger: Browser) -> None:
    open_setup()
    stranger.get("/setup?token=let-me-in")

    answer = stranger.post(
        "/setup",
        {"username": "mara", "password": "a long enough one", "password_again": "a long enough one"},
    )

    assert answer.response.headers["Location"] == "/"
    assert User.get(User.username == "mara").role == "admin"
    assert "Start with one machine" in stranger.get("/").text("main")
    assert AuditEntry.select().where(AuditEntry.action == "user.created").count() == 1


def test_a_script_may_set_up_with_the_two_contract_fields(stranger: Browser) -> None:
    open_setup()
    stranger.get("/setup?token=let-me-in")

    assert stranger.client.post("/setup", data={"username": "mara", "password": "a long enough one"}).status_code == 303


def test_a_short_password_is_refused_beside_its_field(stranger: Browser) -> None:
    open_setup()
    stranger.get("/setup?token=let-me-in")

    answer = stranger.post("/setup", {"username": "mara", "password": "short", "password_again": "short"})

    assert answer.status == 422
    assert "12 characters" in answer.text("#password-error")
    assert answer.find("#password")["aria-describedby"] == "password-error password-hint"
    assert answer.find("#username")["value"] == "mara"


def test_two_different_passwords_are_refused(stranger: Browser) -> None:
    open_setup()
    stranger.get("/setup?token=let-me-in")

    answer = stranger.post(
        "/setup", {"username": "mara", "password": "a long enough one", "password_again": "another one"}
    )

    assert "differ" in answer.text("#password_again-error")
    assert User.select().count() == 0


def test_a_used_setup_link_opens_nothing(stranger: Browser, parts: Runtime) -> None:
    stranger.get("/setup?token=anything")

    assert stranger.get("/setup").status == 410
    assert stranger.post("/setup", {"username": "eve", "password": "a long enough one"}).status == 410


def test_every_password_is_hashed_and_checked_away_from_the_event_loop(parts: Runtime, stranger: Browser) -> None:
    open_setup()
    stranger.get("/setup?token=let-me-in")
    offloaded = []

    def note(function: Callable[..., Any], *arguments: Any) -> Any:
        offloaded.append(function.__name__)
        return function(*arguments)

    parts.offload = note
    stranger.post("/setup", {"username": "mara", "password": "a long enough one"})
    stranger.client.delete_cookie("rm_session")
    stranger.post("/login", {"username": "mara", "password": "guess-number-one"})
    stranger.post("/login", {"username": "nobody", "password": "guess-number-one"})

    assert offloaded == [passwords._hash.__name__, *[passwords._verify.__name__] * 2]


def test_a_cookie_from_before_the_sign_in_is_neither_taken_nor_kept(stranger: Browser) -> None:
    stranger.client.set_cookie("rm_session", "rmu_known-to-somebody-else", domain="localhost")

    stranger.post("/login", {"username": "alice", "password": cast.PASSWORD})

    kept = stranger.client.get_cookie("rm_session")
    assert kept is not None and kept.value != "rmu_known-to-somebody-else"
    assert Session.select().count() == 1
    attacker = Browser(stranger.client.application.test_client())
    attacker.client.set_cookie("rm_session", "rmu_known-to-somebody-else", domain="localhost")
    assert attacker.get("/").status == 303


def test_the_session_that_was_open_before_ends_with_the_sign_in(
    browser_of: Callable[[Actor], Browser], app: Flask
) -> None:
    browser = browser_of(cast.BOB)
    planted = browser.client.get_cookie("rm_session")
    assert planted is not None

    browser.post("/login", {"username": "alice", "password": cast.PASSWORD})

    attacker = Browser(app.test_client())
    attacker.client.set_cookie("rm_session", planted.value, domain="localhost")
    assert attacker.get("/").status == 303
    assert "alice" in browser.get("/").text(".nav__user")


def test_a_page_that_is_looked_at_says_when_and_a_live_stream_does_not(alice: Browser, clock: Clock) -> None:
    clock.now = cast.NOW + timedelta(minutes=5)
    alice.client.get("/live/alerts").close()
    assert Session.get().last_seen_at == cast.NOW

    alice.get("/alerts")

    assert Session.get().last_seen_at == clock.now
