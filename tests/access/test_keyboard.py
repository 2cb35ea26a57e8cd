"""Everything with the keys alone: from the login to a backup, dialogs, and focus that no live change takes away."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.access.conftest import Stage
from tests.browser.conftest import PASSWORD, Watched, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

FOCUSED = """() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  const name = element.getAttribute('aria-label') || element.labels?.[0]?.textContent || element.textContent;
  return {
    tag: element.tagName, name: (name || '').trim().replace(/\\s+/g, ' '), id: element.id,
    isSeen: parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none' && box.width > 0 && box.height > 0,
  };
}"""


def tab_to(page: Page, name: str, *, most: int = 60) -> None:
    """Press Tab until something with this name has the focus; fails where the focus cannot be seen on the way."""
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        assert found["isSeen"] or found["tag"] in ("BODY", "HTML"), found
        if name in found["name"]:
            return
    raise AssertionError(f"{most} times Tab did not lead to {name!r}")


def expect_focus(page: Page, name: str) -> None:
    """Returns once something with this name has the focus, which follows what is seen by a frame or two."""
    wait_for(lambda: name in page.evaluate(FOCUSED)["name"], f"the focus on {name!r}")


def test_the_keyboard_alone_leads_from_the_login_to_a_backup(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full, is_signed_in=False)
    page = watched.go("/login")
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.locator("#fleet").wait_for()

    tab_to(page, "Search hosts")
    page.keyboard.type("ok.example")
    expect(page.locator("#hosts tbody tr")).to_have_count(1)
    tab_to(page, "ok.example.net")
    page.keyboard.press("Enter")
    page.locator("#sources").wait_for()
    tab_to(page, "Back up now")
    page.keyboard.press("Enter")

    page.wait_for_url("**/jobs/*")
    expect(page.locator("#job-head")).to_contain_text("Backup of")


def test_the_first_tab_skips_to_the_content_and_the_next_goes_on_there(
    full: Stage, look: Callable[..., Watched]
) -> None:
    page = look(full).go("/audit")

    page.keyboard.press("Tab")
    expect_focus(page, "Skip to content")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")

    expect(page.locator("#main :focus")).to_have_count(1)


def test_a_dialog_keeps_the_focus_and_gives_it_back(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go(f"/hosts/{full.scene.hosts['ok']}/settings")
    tab_to(page, "Remove host")
    page.keyboard.press("Enter")
    dialog = page.locator("#remove-host")
    expect(dialog).to_be_visible()
    expect(dialog).to_have_attribute("aria-labelledby", "remove-host-title")
    expect(dialog.locator("[name=typed_name]")).to_be_focused()

    for _ in range(8):
        page.keyboard.press("Tab")
        # a browser may hand the focus to its own bar in between, never to the page behind
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    expect_focus(page, "Remove host")


def test_the_menu_closes_with_escape_and_gives_the_focus_back(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go("/audit")
    page.locator(".nav__user summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()

    page.keyboard.press("Tab")
    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect_focus(page, "alice")


def test_a_live_change_of_a_row_does_not_take_the_focus_from_it(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full)
    page = watched.go("/")
    host_id = full.scene.hosts["rtl"]
    page.locator(f"#host-{host_id} a").focus()
    page.evaluate("window.focused = document.activeElement")
    other = look(full).go(f"/hosts/{host_id}/settings")

    other.get_by_label("Tags").fill("production, moved")
    other.get_by_role("button", name="Save").click()
    other.locator("#flash .flash").wait_for()

    expect(page.locator(f"#host-{host_id}")).to_contain_text("moved")
    wait_for(lambda: page.evaluate("document.activeElement === window.focused"), "the focus where it was")


def test_the_focus_stays_on_a_filter_that_was_chosen(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go("/")
    tab_to(page, "Offline 1")

    page.keyboard.press("Enter")

    expect(page.locator("#hosts tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("status=offline"))
    expect_focus(page, "Offline 1")
