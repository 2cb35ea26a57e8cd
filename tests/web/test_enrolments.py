"""Adding a host: the token is shown once, and the page says how far it is."""

from datetime import timedelta

import pytest
from flask import Flask

from rm.errors import Gone
from rm.events import EnrolmentTokenRevoked, EventBus
from rm.services import enrolments
from rm.services.enrolments import Applicant
from rm.store.models import EnrolmentToken, Host
from rm.web.enrolment_view import EnrolmentView
from tests import cast
from tests.conftest import Clock
from tests.web.conftest import Browser, Page


def mint(browser: Browser, tags: str = "") -> tuple[str, Page]:
    path = browser.post("/hosts/add", {"tags": tags}).response.headers["Location"]
    return path, browser.get(path)


def token_in(page: Page) -> str:
    return page.find("#install-line").get_text().partition("printf 'RM_TOKEN=%s\\n' ")[2].partition(";")[0]


def enrol(bus: EventBus, token: str) -> str:
    applicant = Applicant("web1", "linux", "amd64", "0.1.0", 1, "machine")
    return enrolments.enrol(bus, token=token, applicant=applicant, address="192.0.2.7", now=cast.NOW).host_id


def test_the_token_is_shown_once_and_is_in_no_address(bob: Browser) -> None:
    path, page = mint(bob)
    token = token_in(page)

    assert token not in path
    again = bob.get(path)
    assert token not in again.response.text
    assert "shown once" in again.text("main")
    assert again.has("form[action='/hosts/add'] button")


def test_the_line_keeps_the_token_out_of_argument_lists(bob: Browser) -> None:
    _, page = mint(bob)
    line = page.find("#install-line").get_text()

    assert line == enrolments.install_command(base_url="http://localhost", token=token_in(page))
    assert "curl -fsSL http://localhost/install.sh" in line


def test_waiting_says_since_when_until_when_and_what_next(bob: Browser) -> None:
    _, page = mint(bob)

    terms = [term.get_text() for term in page.soup.select("#waiting dt")]
    assert terms == ["State", "Since", "Deadline", "What happens next"]
    assert page.has("#waiting details")


def test_the_page_tells_enrolled_from_connected(bob: Browser, bus: EventBus) -> None:
    path, page = mint(bob)
    host_id = enrol(bus, token_in(page))
    enrolled = bob.get(path).text("#waiting-title")
    Host.update(first_hello_at=cast.NOW, connected_at=cast.NOW, last_seen_at=cast.NOW).execute()

    connected = bob.get(path)

    assert enrolled == "web1 is enrolled and about to connect"
    assert connected.text("#waiting-title") == "web1 is here"
    assert connected.find("#waiting a.button--primary")["href"] == f"/hosts/{host_id}"


def test_a_lapsed_token_says_so_and_offers_a_new_one(bob: Browser, clock: Clock) -> None:
    path, _ = mint(bob, "shop")
    clock.now += timedelta(hours=2)

    page = bob.get(path)

    assert "lapsed" in page.text("#waiting-title")
    assert page.find("#waiting form input[name=tags]")["value"] == "shop"


def test_open_tokens_are_listed_and_one_is_revoked_at_once(bob: Browser, charlie: Browser, bus: EventBus) -> None:
    path, page = mint(bob, "shop")
    lapsed_path, _ = mint(bob)
    EnrolmentToken.update(expires_at=cast.NOW).where(EnrolmentToken.id == lapsed_path.rpartition("/")[2]).execute()
    before = bob.get("/hosts/add")
    refused = charlie.post(f"{path}/revoke").status

    bob.post(f"{path}/revoke")
    after = bob.get("/hosts/add")

    assert len(before.soup.select("#open-tokens tbody tr")) == 1
    assert "1 more host" in before.text("#open-tokens") and "shop" in before.text("#open-tokens")
    assert refused == 403
    assert not after.has("#open-tokens")
    assert "lets nobody in" in after.text("body")
    assert "was revoked" in bob.get(path).text("#waiting-title")
    with pytest.raises(Gone):
        enrol(bus, token_in(page))


def test_the_page_that_waits_hears_that_its_token_was_revoked(app: Flask, bus: EventBus, bob: Browser) -> None:
    path, _ = mint(bob)
    token_id = path.rpartition("/")[2]
    view = EnrolmentView(app, token_id, base_url="http://localhost")
    view.everything(cast.NOW)
    enrolments.revoke_token(bus, token_id=token_id, actor=cast.BOB, now=cast.NOW)

    waiting, _ = view.changed([EnrolmentTokenRevoked(token_id)], cast.NOW)

    assert "was revoked" in waiting.html
    assert view.changed([EnrolmentTokenRevoked("another")], cast.NOW) == []


def test_tags_are_kept_with_the_token_and_wrong_ones_are_refused(bob: Browser) -> None:
    mint(bob, "a, b")
    wrong = bob.post("/hosts/add", {"tags": "x" * 60})

    assert EnrolmentToken.get().tags == ["a", "b"]
    assert wrong.status == 422
    assert wrong.has("#tags-error")
    assert wrong.find("#tags")["value"] == "x" * 60


def test_an_unknown_token_page_is_a_404(bob: Browser) -> None:
    assert bob.get("/hosts/add/nothing").status == 404
