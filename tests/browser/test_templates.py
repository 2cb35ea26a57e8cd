"""A template, from its form over the differences to the host that it was applied to."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Agent, Server, Watched, add_host, set_up

pytestmark = [pytest.mark.browser, pytest.mark.timeout(500)]


def test_a_template_is_made_looked_at_and_applied_to_a_host_by_hand(
    server: Server, agent: Agent, open_page: Callable[..., Watched]
) -> None:
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)

    watched.go("/templates/new")
    page.locator("#template_name").fill("Linux servers")
    page.locator("#name").fill("system")
    page.locator("#includes").fill("/etc\n/root")
    page.locator("main form button[type=submit].button--primary").first.click()
    expect(page.locator("h1")).to_have_text("Linux servers")
    page.locator("#apply input[name=hosts]").first.check()
    page.get_by_role("button", name="See what would change").click()

    expect(page.locator("h1")).to_have_text("This would change 1 host")
    expect(page.locator("#outcome-1")).to_contain_text("Added group system")
    page.get_by_role("button", name="Apply to 1 host").click()
    expect(page.locator("#template-hosts")).to_contain_text("The same")

    watched.go(host_path)
    expect(page.locator("#sources")).to_contain_text("system")
    page.locator("#sources").get_by_role("link", name="Templates", exact=True).click()
    expect(page.locator("main table")).to_contain_text("Linux servers")
