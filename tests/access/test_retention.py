"""The form of a source group while somebody chooses what is kept."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.access.conftest import Stage
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_the_preview_follows_the_choice_and_the_typed_name_outlives_it(
    full: Stage, look: Callable[..., Watched]
) -> None:
    watched = look(full)
    page = watched.go(f"/hosts/{full.scene.hosts['ok']}/sources/{full.scene.groups['ok']}")
    preview = page.locator("#retention-preview")
    expect(preview).to_contain_text("6 would stay and 0 would go")
    expect(page.get_by_label("Newest")).to_be_hidden()

    page.locator(".choice", has_text="Rules of your own").click()
    page.get_by_label("Newest").fill("2")
    expect(preview).to_contain_text("2 would stay and 4 would go")
    page.get_by_label("Name of the group, if you mean it").fill("sys")
    page.get_by_label("Newest").fill("1")

    expect(preview).to_contain_text("1 would stay and 5 would go")
    expect(page.get_by_label("Name of the group, if you mean it")).to_have_value("sys")
    page.locator(".choice", has_text="Short").click()
    expect(preview).to_contain_text("6 would stay and 0 would go")
    expect(page.get_by_label("Name of the group, if you mean it")).to_have_count(0)


def test_what_stands_folded_opens_with_the_keyboard(full: Stage, look: Callable[..., Watched]) -> None:
    page = look(full).go(f"/hosts/{full.scene.hosts['ok']}/sources/new")
    expect(page.get_by_label("Try again so often")).to_be_hidden()

    page.locator("summary", has_text="Retries").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_label("Try again so often")).to_be_visible()
