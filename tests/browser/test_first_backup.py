"""From the first start to the first backup, as a person goes through it, with real restic."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Agent, Server, Watched, add_host, set_up

pytestmark = [pytest.mark.browser, pytest.mark.restic, pytest.mark.timeout(300)]
pytestmark += [pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")]


def test_a_newcomer_gets_from_the_setup_link_to_the_first_backup_without_reloading(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "letter.txt").write_text("dear reader")
    watched = open_page()
    page = watched.page

    set_up(watched)
    host_path = add_host(watched, server, agent)
    page.get_by_role("link", name="Set repository").first.click()
    page.get_by_label("Name", exact=True).fill("attic")
    page.get_by_label("Location").fill(str(tmp_path / "repository"))
    page.get_by_label("Repository password").fill("not for logs")
    page.get_by_role("button", name="Save repository").click()
    page.get_by_role("link", name="Choose what to back up").first.click()
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Include").fill(str(files))
    page.get_by_role("button", name="Save group").click()
    page.get_by_role("button", name="Create repository").click()
    expect(page.locator("#job-state")).to_contain_text("repository", timeout=40_000)
    expect(page.locator("#job-head .status--badge")).to_have_text("Succeeded", timeout=40_000)
    watched.go(host_path)
    page.locator("#steps").get_by_role("button", name="Back up now").click()
    page.wait_for_url(re.compile("/jobs/"))

    expect(page.locator("#job-head .status--badge")).to_have_text("Succeeded", timeout=40_000)
    expect(page.locator("#restic-command")).to_contain_text("restic")
    expect(page.locator("#job-log-lines .log__line").first).to_be_visible()
    assert "not for logs" not in page.content()
    watched.go("/")
    expect(page.locator("#verdict")).to_contain_text("The only host is protected.")
    watched.go(f"{host_path}/snapshots")
    expect(page.locator("#snapshots tbody tr")).to_have_count(1, timeout=40_000)
    assert "not for logs" not in server.log()
