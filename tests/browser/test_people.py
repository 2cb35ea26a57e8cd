"""People in a real browser: from the link to the second factor."""

import time
from collections.abc import Callable

import pyotp
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, Server, Watched, set_up

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_new_person_comes_in_by_a_link_and_signs_in_with_a_code(
    server: Server, open_page: Callable[..., Watched]
) -> None:
    admin = open_page()
    set_up(admin)
    page = admin.go("/settings/users")
    page.get_by_label("Name", exact=True).fill("dora")
    page.get_by_role("radio", name="Operator").check()
    page.get_by_role("button", name="Add user").click()
    link = page.locator("#user-link").inner_text()

    dora = open_page()
    other = dora.page
    other.goto(link)
    assert "token" not in other.url
    other.get_by_label("Password", exact=True).fill(PASSWORD)
    other.get_by_label("Password once more").fill(PASSWORD)
    other.get_by_role("button", name="Keep password").click()
    expect(other.locator(".nav__user")).to_contain_text("dora")

    dora.go("/settings/account")
    other.locator("#factor_password").fill(PASSWORD)
    other.get_by_role("button", name="Set up").click()
    secret = other.locator("#secret").inner_text().replace(" ", "")
    box = other.locator(".qr").bounding_box()
    assert box is not None and box["width"] > 150 and abs(box["width"] - box["height"]) < 2
    other.get_by_label("Code", exact=True).fill(pyotp.TOTP(secret).now())
    other.get_by_role("button", name="Switch on").click()
    codes = other.locator("#recovery-codes").inner_text().split()
    assert len(codes) == 10

    other.locator(".nav__user summary").click()
    other.get_by_role("button", name="Sign out").click()
    other.get_by_label("Name", exact=True).fill("dora")
    other.get_by_label("Password", exact=True).fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    expect(other).to_have_title("Second factor · restic-manager")
    # the code of a step that was used is spent; the next one is right already
    after = pyotp.TOTP(secret).at(int(time.time()) + 30)
    other.get_by_label("Code", exact=True).fill(after)
    other.get_by_role("button", name="Sign in").click()
    expect(other.locator(".nav__user")).to_contain_text("dora")

    # an open page of hers ends when the administrator disables her
    dora.go("/")
    dora.expected = ("401", "sse:error", "response:error", "ERR_")
    page = admin.go("/settings/users")
    page.get_by_role("link", name="dora").click()
    page.get_by_role("link", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.locator(".page__title")).to_contain_text("Disabled")
    expect(other).to_have_title("Sign in · restic-manager")
