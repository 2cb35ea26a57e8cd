"""Updates with the keys alone, without dialogs, and on a phone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.access.conftest import Stage
from tests.access.test_keyboard import expect_focus, tab_to
from tests.access.test_ways import WITHOUT_DIALOGS
from tests.browser.conftest import PHONE, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_the_keyboard_alone_leads_from_the_options_to_the_plan(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go("/settings/fleet-update")

    tab_to(page, "Only hosts with a tag")
    page.keyboard.type("production")
    page.keyboard.press("Enter")
    page.wait_for_url("**tags=production**")

    tab_to(page, "Take this plan")
    page.keyboard.press("Enter")
    expect(page.locator("#start")).to_be_visible()


def test_a_decision_is_asked_in_a_dialog_that_gives_the_focus_back(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go(f"/settings/fleet-update/{full.scene.fleet_updates['halted']}")
    tab_to(page, "Continue without")
    page.keyboard.press("Enter")
    dialog = page.locator("#skip-fleet")
    expect(dialog).to_be_visible()
    expect(dialog.locator("[name=reason]")).to_be_focused()

    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    expect_focus(page, "Continue without")


def test_without_dialogs_an_update_is_asked_for_on_a_page(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full)
    watched.page.add_init_script(WITHOUT_DIALOGS)
    page = watched.go(f"/hosts/{full.scene.hosts['ok']}")

    page.get_by_role("link", name="Update agent").click()

    page.wait_for_url("**/update")
    expect(page.get_by_role("button", name="Update agent")).to_be_visible()
    page.get_by_role("link", name="Not now").click()
    page.wait_for_url(f"**/hosts/{full.scene.hosts['ok']}")


def test_a_phone_shows_the_lamp_of_the_fleet_update(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, viewport=PHONE).go("/alerts")

    lamp = page.locator("#lamps .lamp--news")
    expect(lamp).to_be_visible()
    box = lamp.bounding_box()
    assert box is not None and box["x"] + box["width"] <= PHONE["width"]


def test_without_scripts_everything_can_still_be_read_and_pressed(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, java_script_enabled=False).go(
        f"/settings/fleet-update/{full.scene.fleet_updates['halted']}?show=failed"
    )

    expect(page.locator("noscript, p.flash--offline").first).to_be_attached()
    page.get_by_role("link", name="Continue without", exact=True).click()
    expect(page.get_by_label("Why")).to_be_visible()


# [its share of the row, its ticks], as 500 hosts in three waves and a canary make them
WAVES = [[1, 1], [1, 7], [1, 31], [4, 112], [1, 16], [4, 200]]
DRAW = """(waves) => {
  const cells = (n) => '<span class="tally__cell tally__cell--todo"></span>'.repeat(n);
  const row = document.querySelector('.waves');
  row.innerHTML = waves.map(([share, ticks]) => `<div class="waves__wave waves__wave--${share}">`
    + `<span class="tally">${cells(ticks)}</span><span class="waves__name">Wave 2, 59 of 93</span></div>`).join('');
  return [...row.querySelectorAll('.tally')].map((one) => one.scrollWidth - one.clientWidth);
}"""


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1360, "height": 900}], ids=["phone", "desk"])
def test_the_ticks_of_many_hosts_stay_within_their_wave(
    full: Stage, look: Callable[..., Watched], viewport: dict[str, int]
) -> None:
    page = look(full, viewport=viewport).go(f"/settings/fleet-update/{full.scene.fleet_updates['halted']}")

    assert page.evaluate(DRAW, WAVES) == [0] * len(WAVES)
