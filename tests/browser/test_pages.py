"""Pages in a real browser: live rows, lost connections, no scripts, phones, themes, keyboards."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Agent, Server, Watched, add_host, build_agent, set_up, token_on, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")

# "Copied" stands for a second and a half only, which a busy machine may be too late to see.
REMEMBER_WORDS = """(button) => {
  window.words = [];
  new MutationObserver(() => window.words.push(button.textContent.trim()))
    .observe(button, {childList: true, characterData: true, subtree: true});
}"""


def give_repository(watched: Watched, host_path: str, tmp_path: Path, files: Path) -> None:
    """A repository and a source group for a host, by plain forms."""
    page = watched.go(f"{host_path}/repository")
    page.get_by_label("Name", exact=True).fill("attic")
    page.get_by_label("Location").fill(str(tmp_path / "repository"))
    page.get_by_label("Repository password").fill("not for logs")
    watched.press("Save repository")
    watched.go(f"{host_path}/sources/new")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Include").fill(str(files))
    watched.press("Save group")


def test_a_row_changes_by_itself_and_keeps_what_is_being_typed(
    server: Server, agent: Agent, open_page: Callable[..., Watched]
) -> None:
    watched = open_page()
    set_up(watched)
    add_host(watched, server, agent)
    host_name = watched.page.locator("#host-head bdi").first.inner_text()
    fleet = watched.go("/")
    status = fleet.locator("#hosts tbody tr").first
    expect(status).to_contain_text("online")
    fleet.locator("#q").press_sequentially(host_name[0])

    agent.stop()

    expect(status).to_contain_text("offline", timeout=40_000)
    expect(fleet.locator("#q")).to_be_focused()
    expect(fleet.locator("#q")).to_have_value(host_name[0])


def test_a_host_that_enrols_appears_on_an_open_fleet_page(
    server: Server, agent: Agent, open_page: Callable[..., Watched]
) -> None:
    watched = open_page()
    set_up(watched)
    page = watched.go("/hosts/add")
    page.get_by_role("button", name="Make the line").click()
    agent.enrol(server, token_on(page))
    fleet = watched.page.context.new_page()
    fleet.goto(server.url + "/")
    expect(fleet.locator("#hosts tbody tr")).to_have_count(1)
    expect(page.locator("#waiting-title")).to_contain_text("about to connect")

    agent.start()

    expect(page.locator("#waiting")).to_have_class(re.compile("card--ok"))
    expect(fleet.locator("#hosts tbody tr")).to_contain_text("online")


@needs_restic
def test_a_running_job_moves_and_can_be_cancelled_from_its_page(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    # Sparse, so that restic reads for longer than any page needs, and stores next to nothing.
    with open(files / "disk.img", "wb") as image:
        image.truncate(64 * 1024**3)
    watched = open_page()
    set_up(watched)
    page = watched.page
    host_path = add_host(watched, server, agent)
    give_repository(watched, host_path, tmp_path, files)
    page.locator("#steps").get_by_role("button", name="Create repository").click()
    expect(page.locator("#job-head .status--badge")).to_have_text("Succeeded")
    watched.go(host_path)
    page.locator("#sources").get_by_role("button", name="Back up now").click()
    expect(page.locator("#job-head .status--badge")).to_have_text("Running")

    page.get_by_role("link", name="Cancel job").click()
    dialog = page.locator("#cancel-job")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel job").click()

    expect(page.locator("#job-head .status--badge")).to_have_text("Cancelled")
    expect(page.locator("#job-state")).to_contain_text("Ended")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


@needs_restic
def test_the_repository_test_changes_its_card_in_place(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = open_page()
    watched.expected = ("409", "response:error")
    set_up(watched)
    page = watched.page
    host_path = add_host(watched, server, agent)
    give_repository(watched, host_path, tmp_path, tmp_path)
    watched.go(host_path)
    page.evaluate("window.stayed = true")

    page.get_by_role("button", name="Test from this host").click()

    expect(page.locator("#repository #test-result")).to_contain_text("Tested")
    assert page.evaluate("window.stayed")
    agent.stop()
    expect(page.get_by_role("button", name="Test from this host")).to_be_disabled()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_install_line_works_as_it_is_shown(
    server: Server, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    build_agent()
    watched = open_page()
    set_up(watched)
    page = watched.go("/hosts/add")
    page.get_by_role("button", name="Make the line").click()
    line = page.locator("#install-line").inner_text()
    assert line.endswith("| sudo sh")
    # Below a directory and without root: for trying it out, and so as not to install an agent on this machine.
    below = dict(os.environ) | {"RM_INSTALL_ROOT": str(tmp_path / "host")}

    command = line.replace("sudo sh", "sh")
    done = subprocess.run(["sh", "-c", command], env=below, capture_output=True, text=True, timeout=90, check=False)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        expect(page.locator("#waiting")).to_have_class(re.compile("card--ok"))
    finally:
        remove = f"curl -fsSL {server.url}/install.sh | sh -s -- --uninstall"
        subprocess.run(["sh", "-c", remove], env=below, check=True, capture_output=True, timeout=60)


def test_live_news_do_not_undo_a_search(server: Server, agent: Agent, open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    set_up(watched)
    add_host(watched, server, agent)
    page = watched.go("/")
    page.locator("#q").fill("no such host")
    expect(page.locator("#hosts")).to_contain_text("No host matches")

    agent.stop()

    expect(page.locator("#readouts")).to_contain_text("1 offline")
    expect(page.locator("#hosts")).to_contain_text("No host matches")


def test_a_lost_connection_is_said_and_mends_itself(server: Server, open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.expected = ("ERR_", "sse:error", "response:error", "Failed to fetch", "502", "503", "network error")
    set_up(watched)
    page = watched.go("/")
    expect(page.locator("#connection")).to_be_hidden()

    server.stop()
    expect(page.locator("#connection")).to_be_visible()
    server.start()

    expect(page.locator("#connection")).to_be_hidden(timeout=30_000)


def test_an_ended_session_leads_to_the_login_page_and_back(server: Server, open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    watched.expected = ("401", "sse:error", "response:error", "ERR_")
    set_up(watched)
    page = watched.go("/patterns")
    page.context.clear_cookies()
    watched.go("/audit")
    page.wait_for_url(re.compile(r"/login\?next=/audit"))
    page.get_by_label("Name", exact=True).fill("alice")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()


def test_search_filters_in_place_and_the_back_button_works(
    server: Server, agent: Agent, open_page: Callable[..., Watched]
) -> None:
    watched = open_page()
    set_up(watched)
    add_host(watched, server, agent)
    page = watched.go("/")
    page.evaluate("window.stayed = true")

    page.locator("#q").fill("no such host")

    expect(page.locator("#hosts")).to_contain_text("No host matches")
    expect(page).to_have_url(re.compile("q=no"))
    assert page.evaluate("window.stayed")
    page.go_back()
    expect(page.locator("#hosts tbody tr")).to_have_count(1)


@needs_restic
def test_everything_works_without_scripts(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = open_page(java_script_enabled=False)
    page = watched.page
    set_up(watched)
    page.get_by_role("link", name="Add host").click()
    page.get_by_role("button", name="Make the line").click()
    agent.enrol(server, token_on(page))
    agent.start()

    def is_here() -> bool:
        return watched.go_again().locator("#waiting.card--ok").count() == 1

    wait_for(is_here, "the host to connect")
    page.get_by_role("link", name="Choose what to back up").click()
    page.locator("#host-head").wait_for()
    host_path = page.url.removeprefix(server.url)
    give_repository(watched, host_path, tmp_path, tmp_path / "agent")
    page.locator("#steps").get_by_role("button", name="Create repository").click()
    badge = page.locator("#job-head .status--badge")
    badge.wait_for()

    def has_ended() -> bool:
        watched.go_again()
        return badge.inner_text() == "Succeeded"

    wait_for(has_ended, "the repository to be created")
    watched.go(f"{host_path}/settings")
    page.get_by_role("link", name="Remove host").click()
    page.wait_for_url("**/remove")
    page.locator("input[name=typed_name]").fill(page.locator("label code").inner_text())
    page.get_by_role("button", name="Remove host").click()
    expect(page.locator("#flash")).to_contain_text("was removed")
    page.locator(".nav__user summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(
    server: Server, agent: Agent, open_page: Callable[..., Watched], scheme: str
) -> None:
    watched = open_page(viewport=PHONE, color_scheme=scheme)
    watched.expected = ("404",)
    set_up(watched)
    host_path = add_host(watched, server, agent)
    paths = ("/", host_path, "/snapshots", "/jobs", "/settings", "/repository", "/sources/new", "/remove")
    wide = []

    for path in (
        *(host_path + part if part != "/" and part != host_path else part for part in paths),
        "/hosts/add",
        "/audit",
        "/patterns",
        "/nowhere",
    ):
        page = watched.go(path)
        extra = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if extra > 0:
            wide.append((path, extra))

    assert wide == []


def test_the_theme_is_kept_and_set_before_the_first_paint(open_page: Callable[..., Watched]) -> None:
    watched = open_page(color_scheme="light")
    set_up(watched)
    page = watched.page
    toggle = page.locator("[data-theme-toggle]")

    toggle.click()
    toggle.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    watched.go("/patterns")

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_a_keyboard_reaches_the_content_first(open_page: Callable[..., Watched]) -> None:
    watched = open_page()
    set_up(watched)
    page = watched.go("/")

    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("#main")).to_be_focused()


def test_copying_the_install_line_gives_exactly_that_line(open_page: Callable[..., Watched]) -> None:
    watched = open_page(permissions=["clipboard-read", "clipboard-write"])
    set_up(watched)
    watched.go("/hosts/add")
    page = watched.press("Make the line")
    button = page.get_by_role("button", name="Copy")
    button.evaluate(REMEMBER_WORDS)

    button.click()

    wait_for(lambda: "Copied" in page.evaluate("window.words"), "the button to say that it copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("{ printf 'RM_TOKEN=%s")
    assert len(copied.splitlines()) == 1


def test_a_wrong_password_can_be_corrected_on_the_spot(server: Server, open_page: Callable[..., Watched]) -> None:
    set_up(open_page())
    watched = open_page()
    watched.expected = ("401",)
    page = watched.go("/login")
    page.get_by_label("Name", exact=True).fill("alice")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#verdict, .empty").first).to_be_visible()
