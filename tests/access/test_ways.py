"""Browsers that lack or refuse something: no dialogs, another time zone, less motion, forced colours."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.access.conftest import Stage
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WITHOUT_DIALOGS = "delete HTMLDialogElement.prototype.showModal; delete HTMLDialogElement.prototype.show;"


def test_without_dialogs_the_same_question_is_a_page(full: Stage, look: Callable[..., Watched]) -> None:
    watched = look(full)
    watched.page.add_init_script(WITHOUT_DIALOGS)
    page = watched.go(f"/hosts/{full.scene.hosts['ok']}/settings")

    page.get_by_role("link", name="Remove host").click()
    page.wait_for_url("**/remove")
    page.get_by_label("Type ok.example.net").fill("something else")
    page.get_by_role("button", name="Remove host").click()

    expect(page.locator("#confirm-name-error")).to_be_visible()
    watched.expected = ("422",)
    page.get_by_role("link", name="Keep it").click()
    page.wait_for_url("**/settings")


@pytest.mark.parametrize(
    ("zone", "shown"), [("Asia/Kolkata", r"GMT\+5:30|India|IST"), ("America/New_York", r"GMT-[45]|EST|EDT|Eastern")]
)
def test_times_are_in_the_readers_own_zone(full: Stage, look: Callable[..., Watched], zone: str, shown: str) -> None:
    page = look(full, timezone_id=zone, locale="en-GB").go(f"/jobs/{full.scene.jobs['failed']}")
    line = page.locator("#job-log-lines time").first
    instant = line.get_attribute("datetime")
    wanted = page.evaluate("(at) => new Date(at).toLocaleTimeString([], {timeStyle: 'medium', hour12: false})", instant)

    assert line.inner_text() == wanted
    assert wanted != (instant or "")[11:19]
    titles = [one.get_attribute("title") or "" for one in page.locator("main time").all()]
    assert all(re.search(shown, title) for title in titles), titles


def test_without_scripts_times_are_absolute_and_in_utc(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, java_script_enabled=False).go("/")

    for text in page.locator("#hosts time").all_inner_texts():
        assert re.fullmatch(r"\d{1,2} \w{3} \d{4}, \d\d:\d\d:\d\d UTC", text)


def test_less_motion_means_none(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, reduced_motion="reduce").go("/patterns")

    assert page.evaluate("document.getAnimations().length") == 0


def test_forced_colours_leave_every_mark_visible(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full, forced_colors="active").go("/patterns")

    for selector in (".strip--wide .strip__day--ok", ".tally__cell--failed"):
        assert page.locator(selector).first.evaluate("(e) => getComputedStyle(e).forcedColorAdjust") == "none"
    for selector in (".button", ".card", ".input"):
        assert page.locator(selector).first.evaluate("(e) => getComputedStyle(e).borderTopStyle") == "solid"
