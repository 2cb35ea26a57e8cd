"""Errors as a page, as a message in the page, and as the contract's JSON."""

import logging
import sqlite3
from contextlib import closing

import pytest
from flask import Flask

from rm.errors import Unavailable
from rm.runtime import runtime
from rm.web import layout
from tests.web.conftest import Browser


def test_an_unknown_page_is_a_page(alice: Browser, stranger: Browser) -> None:
    for browser in (alice, stranger):
        page = browser.get("/nowhere")
        assert page.status == 404
        assert page.has("html")
        assert "nothing here" in page.text("#error")


@pytest.mark.parametrize("path", ["/api/v1/nowhere", "/agent/nowhere", "/live/nowhere"])
def test_programs_get_the_contracts_error_shape(stranger: Browser, path: str) -> None:
    answer = stranger.get(path).response

    assert answer.json is not None
    assert set(answer.json["error"]) == {"code", "message", "help"}
    assert answer.json["error"]["code"] == "not_found"


def test_a_bug_shows_a_reference_and_the_log_has_it(
    app: Flask, alice: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rm.web.fleet_summary.summary", lambda now: 1 / 0)

    with caplog.at_level(logging.ERROR):
        page = alice.get("/")

    assert page.status == 500
    assert page.text("#reference") in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivision" not in page.response.text


def test_a_full_disk_is_a_503_that_says_what_to_do(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("The server's disk is full.", code="disk_full", help="Free space.")

    monkeypatch.setattr("rm.web.enrolments.service.mint_token", fail)

    page = alice.post("/hosts/add")

    assert page.status == 503
    assert "Free space." in page.text("main")


def test_a_body_that_is_too_large_is_a_413(alice: Browser) -> None:
    page = alice.post("/hosts/add", {"tags": "x" * (3 * 1024 * 1024)})

    assert page.status == 413
    assert "too large" in page.text("#error")


def test_htmx_gets_a_message_for_the_flash_and_keeps_its_page(alice: Browser) -> None:
    answer = alice.get("/hosts/none", headers={"HX-Request": "true"})

    assert answer.status == 404
    assert answer.response.headers["HX-Retarget"] == "#flash"
    assert answer.response.headers["HX-Reswap"] == "innerHTML"
    assert answer.has(".flash--failed[role=alert]")


def test_htmx_is_led_to_the_login_page_when_the_session_is_over(stranger: Browser) -> None:
    answer = stranger.get("/", headers={"HX-Request": "true"})

    assert answer.status == 401
    assert answer.response.headers["HX-Redirect"] == "/login"


@pytest.mark.parametrize("code", [*layout.FLASHES])
def test_the_message_after_an_action_is_shown_once(alice: Browser, code: str) -> None:
    alice.client.set_cookie(layout.FLASH_COOKIE, code, domain="localhost")

    assert alice.get("/").has("#flash .flash")
    assert not alice.get("/").has("#flash .flash")


def test_a_forged_message_is_not_shown(alice: Browser) -> None:
    alice.client.set_cookie(layout.FLASH_COOKIE, "<b>you have won</b>", domain="localhost")

    assert not alice.get("/").has("#flash .flash")


def test_a_database_that_another_program_holds_is_a_503_that_says_so(app: Flask, alice: Browser) -> None:
    with closing(sqlite3.connect(runtime(app).settings.database_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        page = alice.post("/hosts/add")
        other.execute("ROLLBACK")

    assert page.status == 503
    assert "database is busy" in page.text("#error")
    assert "Try again in a moment" in page.text("#error")


def test_the_page_of_an_error_leads_back_to_the_page_before_it(alice: Browser) -> None:
    before = "/hosts/add?tags=a"

    page = alice.post("/jobs/none/cancel", headers={"Referer": f"http://localhost{before}"})

    assert page.status == 404
    assert page.find("#error a")["href"] == before


@pytest.mark.parametrize(
    "before",
    [
        "https://example.net/hosts/add",
        "http://localhost.example.net/hosts/add",
        "http://localhost//example.net/",
        "http://localhost/logout",
        "http://localhost/nowhere",
        "http://localhost/",
        "nonsense",
    ],
)
def test_it_leads_nowhere_but_to_a_page_of_this_server(alice: Browser, before: str) -> None:
    page = alice.get("/nowhere", headers={"Referer": before})

    assert page.find("#error a")["href"] == "/"


@pytest.mark.parametrize("path", ["/nowhere", "/setup?token=wrong", "/choose-password?token=wrong"])
def test_what_is_over_or_missing_has_a_title_and_a_way_on_for_a_stranger(stranger: Browser, path: str) -> None:
    page = stranger.get(path, follow_redirects=True)

    assert page.text("title")
    assert page.has("main a[href]")
