"""A repository kept in order from its page, with a real agent and real restic."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Agent, Server, Watched, add_host, set_up

pytestmark = [pytest.mark.browser, pytest.mark.restic, pytest.mark.timeout(300)]
pytestmark += [pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")]


def test_a_repository_is_adopted_tested_checked_unlocked_and_pruned_from_its_page(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    watched.go("/repositories/new")
    page.get_by_label("Name", exact=True).fill("attic")
    page.get_by_label("Location").fill(str(tmp_path / "repository"))
    page.get_by_label("Repository password").fill("not for logs")
    watched.press("Save repository")
    watched.press("Let it use this")
    expect(page.locator("#repository-verdict")).to_contain_text("Nobody has opened it yet.")
    repository_path = page.url.replace(server.url, "")
    watched.go(host_path)
    page.locator("#repository").get_by_role("button", name="Create it").click()
    expect(page.locator("#job-head .status--badge")).to_have_text("Succeeded", timeout=40_000)

    said = {}
    for button in ("Check", "Remove stale locks", "Prune"):
        watched.go(repository_path)
        page.locator("#upkeep").get_by_role("button", name=button).click()
        page.wait_for_url(re.compile("/jobs/"))
        expect(page.locator("#job-head .status--badge")).to_have_text("Succeeded", timeout=40_000)
        said[button] = page.locator("#job-state .verdict__text").inner_text()
    watched.go(repository_path)
    page.get_by_role("button", name="Test").click()

    expect(page.locator("#flash")).to_contain_text("The host opened the repository.", timeout=40_000)
    expect(page.locator("#repository-verdict")).to_contain_text("In use by 1 host.")
    expect(page.locator("#repository-jobs tbody tr")).to_have_count(4)
    assert said["Check"].startswith("No errors were found")
    assert said["Remove stale locks"] == "There was no lock to remove."
    assert said["Prune"].startswith("The repository was pruned")
    assert "not for logs" not in page.content() + server.log()
