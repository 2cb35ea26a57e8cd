"""What to back up and when, written in a browser, and the run that a real agent then makes by itself."""

import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rm.shared.schedule import zone_of_this_machine
from tests.browser.conftest import Agent, Server, Watched, add_host, set_up

pytestmark = [pytest.mark.browser, pytest.mark.restic, pytest.mark.timeout(500)]
pytestmark += [pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")]

BADGE = "#job-head .status--badge"


def give_repository(watched: Watched, host_path: str, place: Path) -> None:
    page = watched.go(f"{host_path}/repository")
    page.get_by_label("Name", exact=True).fill("attic")
    page.get_by_label("Location").fill(str(place))
    page.get_by_label("Repository password").fill("not for logs")
    page.get_by_role("button", name="Save repository").click()
    page.locator("#host-head").wait_for()


def choose(page: Page, name: str) -> None:
    """Pick a radio by the words beside it."""
    page.locator(".choice", has_text=name).first.click()


def test_a_schedule_that_is_due_soon_makes_a_backup_without_anybody(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "letter.txt").write_text("dear reader")
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    give_repository(watched, host_path, tmp_path / "repository")
    watched.go(f"{host_path}/sources/new")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Include").fill(str(files))
    choose(page, "Rules of your own")
    page.get_by_label("Daily", exact=True).fill("7")
    expect(page.locator("#retention-preview")).to_contain_text("7 daily")
    page.get_by_role("button", name="Save group").click()
    page.locator("#steps").get_by_role("button", name="Create repository").click()
    expect(page.locator(BADGE)).to_have_text("Succeeded", timeout=120_000)

    watched.go(f"{host_path}/schedules/new")
    page.get_by_label("Spread the start").fill("0")
    soon = datetime.now(zone_of_this_machine()) + timedelta(seconds=150)
    page.get_by_label("At", exact=True).fill(soon.strftime("%H:%M"))
    expect(page.locator("#beside-words")).to_contain_text(f"At {soon:%H:%M} every day")
    page.get_by_role("button", name="Save schedule").click()
    expect(page.locator("#schedules")).to_contain_text("nightly")
    expect(page.locator("#delivery")).to_have_count(0, timeout=90_000)

    row = page.locator("#jobs tbody tr", has_text="letters").first
    expect(row).to_contain_text("Succeeded", timeout=300_000)
    expect(page.locator("#host-verdict")).to_contain_text(re.compile("protected|backed up", re.IGNORECASE))
    assert "not for logs" not in server.log()


def test_next_runs_follow_what_is_typed_and_nothing_typed_is_lost(
    server: Server, agent: Agent, open_page: Callable[..., Watched]
) -> None:
    watched = open_page(timezone_id="Asia/Tokyo")
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    watched.go(f"{host_path}/sources/new")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Include").fill("/srv/letters")
    page.get_by_role("button", name="Save group").click()
    page.locator("#sources tbody tr").first.wait_for()

    watched.go(f"{host_path}/schedules/new")
    page.get_by_label("Name", exact=True).fill("quarterly")
    choose(page, "Cron expression")
    expect(page.get_by_label("At", exact=True)).to_be_hidden()
    page.get_by_label("Cron expression", exact=True).last.fill("30 4 1 */3 *")
    expect(page.locator("#beside .runs li").first).to_contain_text("04:30")
    expect(page.locator("#beside .runs li")).to_have_count(5)
    page.get_by_label("Cron expression", exact=True).last.fill("30 25 1 */3 *")
    expect(page.locator("#beside-problem")).to_contain_text("no cron expression")
    page.get_by_role("button", name="Save schedule").click()

    expect(page.locator("#cron-error")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("quarterly")
    expect(page.get_by_label("Cron expression", exact=True).last).to_be_focused()
    watched.expected = ("422",)
