"""A file brought back through the browser, with real agents and real restic, and what those pages owe to everybody."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.access.test_pages import violations
from tests.browser.conftest import PHONE, WAIT_MS, Agent, Server, Watched, add_host, set_up, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.restic, pytest.mark.timeout(400)]
pytestmark += [pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")]

BADGE = "#job-head .status--badge"
LETTER = "dear reader\n" * 500
ODD = "odd \u202ename\n'\"&<b>*?[x].txt"


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Agent]:
    """Another host's agent."""
    root = tmp_path / "second"
    root.mkdir()
    found = Agent(root)
    yield found
    found.stop()


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    folder = tmp_path / "letters"
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "letter.txt").write_text(LETTER)
    (folder / ODD).write_text("odd\n")
    for number in range(30):
        (folder / f"note-{number:02}.txt").write_text(f"note {number}\n")
    return folder


def back_up(watched: Watched, host_path: str, tmp_path: Path, letters: Path) -> None:
    page = watched.page
    watched.go(f"{host_path}/repository")
    page.get_by_label("Name", exact=True).fill("attic")
    page.get_by_label("Location").fill(str(tmp_path / "repository"))
    page.get_by_label("Repository password").fill("not for logs")
    watched.press("Save repository")
    watched.go(f"{host_path}/sources/new")
    page.get_by_label("Name", exact=True).fill("letters")
    page.get_by_label("Include").fill(str(letters))
    watched.press("Save group")
    watched.go(host_path)
    page.locator("#steps").get_by_role("button", name="Create repository").click()
    done(page)
    watched.go(host_path)
    page.locator("#steps").get_by_role("button", name="Back up now").click()
    done(page)


def done(page: Page) -> None:
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator(BADGE)).to_have_text("Succeeded", timeout=120_000)


def open_folder(page: Page, letters: Path) -> None:
    """From the root of the snapshot down to the letters, folder by folder."""
    for name in letters.parts[1:]:
        page.locator("#browser").get_by_role("link", name=f"{name}/", exact=True).click()
        expect(page.locator(".crumbs--path [aria-current]")).to_have_text(name, timeout=WAIT_MS)


def open_snapshot(watched: Watched, host_path: str) -> None:
    watched.go(f"{host_path}/snapshots")
    row = watched.page.locator("#snapshots tbody tr th a")
    expect(row.first).to_be_visible(timeout=WAIT_MS)
    row.first.click()
    expect(watched.page.locator(".table--files")).to_be_visible(timeout=WAIT_MS)


def restored(page: Page, name: Path) -> Path:
    """Where the job's page says that this file is now."""
    target = page.locator("#job-restore dd .mono").inner_text()
    return Path(target) / str(name).lstrip("/")


def test_a_file_with_an_odd_name_and_a_folder_are_picked_restored_checked_and_found(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path, letters: Path
) -> None:
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    back_up(watched, host_path, tmp_path, letters)
    (letters / ODD).write_text("overwritten since\n")

    open_snapshot(watched, host_path)
    open_folder(page, letters)
    for label in ("Restore odd", "Restore old"):
        page.get_by_role("checkbox", name=label).check()
        expect(page.locator("#picked-title .count")).to_have_text("1" if "odd" in label else "2", timeout=WAIT_MS)
    found = {"folder": violations(page)}
    page.get_by_role("link", name="Choose where to").click()
    found["where"] = violations(page)
    page.get_by_role("button", name="Review").click()
    expect(page.locator("#restore-size")).to_have_text(re.compile("in 2 files"), timeout=WAIT_MS)
    found["review"] = violations(page)
    page.get_by_role("button", name="Restore now").click()
    done(page)
    found["job"] = violations(page)

    assert found == {"folder": [], "where": [], "review": [], "job": []}
    assert restored(page, letters / "old" / "letter.txt").read_text() == LETTER
    assert restored(page, letters / ODD).read_text() == "odd\n"
    assert not restored(page, letters / "note-00.txt").exists()
    assert (letters / ODD).read_text() == "overwritten since\n"
    expect(page.locator("#job-restore")).to_contain_text("the sizes of 2 files are those of the snapshot")


def test_a_snapshot_is_looked_into_and_restored_through_another_host_while_its_own_is_away(
    server: Server, agent: Agent, second: Agent, open_page: Callable[..., Watched], tmp_path: Path, letters: Path
) -> None:
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    back_up(watched, host_path, tmp_path, letters)
    other_path = add_host(watched, server, second)
    for path, name in ((host_path, "dead-host"), (other_path, "helper-host")):
        watched.go(f"{path}/settings")
        page.get_by_label("Name", exact=True).fill(name)
        watched.press("Save")
    watched.go(f"{other_path}/repository")
    watched.press("Use this repository")
    agent.stop()
    shutil.rmtree(letters)

    def is_answered_through_the_other() -> bool:
        open_snapshot(watched, host_path)
        return "Read through helper-host" in page.locator("#browser").inner_text()

    wait_for(is_answered_through_the_other, "the helper to have the repository's settings", 120)
    page.get_by_label("Find in this snapshot").fill("letter.t")
    page.get_by_label("Find in this snapshot").press("Enter")
    expect(page.locator(".table--files tbody tr")).to_have_count(1, timeout=WAIT_MS)
    page.get_by_role("checkbox").check()
    expect(page.locator("#picked-title .count")).to_have_text("1", timeout=WAIT_MS)
    page.get_by_role("link", name="Choose where to").click()
    page.get_by_role("radio", name=re.compile("helper-host")).check()
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Restore now").click()
    done(page)

    assert restored(page, letters / "old" / "letter.txt").read_text() == LETTER
    expect(page.locator("#job-head")).to_contain_text("helper-host")


def test_two_snapshots_are_compared_and_the_pages_fit_on_a_phone(
    server: Server, agent: Agent, open_page: Callable[..., Watched], tmp_path: Path, letters: Path
) -> None:
    watched = open_page()
    page = watched.page
    set_up(watched)
    host_path = add_host(watched, server, agent)
    back_up(watched, host_path, tmp_path, letters)
    (letters / "new.txt").write_text("new\n")
    (letters / "note-00.txt").unlink()
    watched.go(host_path)
    page.locator("#sources").get_by_role("button", name="Back up now").first.click()
    done(page)

    watched.go(f"{host_path}/snapshots")
    expect(page.locator("#snapshots tbody tr")).to_have_count(2, timeout=WAIT_MS)
    for box in page.locator("#snapshots input[name=snapshot]").all():
        box.check()
    page.get_by_role("button", name="Compare the two").click()
    done(page)

    expect(page.locator("#job-log")).to_contain_text("new.txt", timeout=WAIT_MS)
    expect(page.locator("#job-progress")).to_contain_text("Removed files", timeout=WAIT_MS)
    page.set_viewport_size(PHONE)
    too_wide = []
    open_snapshot(watched, host_path)
    open_folder(page, letters)
    for step in ("folder", "where", "review"):
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(step)
        if step == "folder":
            page.get_by_role("checkbox", name="Restore odd").check()
            page.get_by_role("link", name="Choose where to").click()
            page.get_by_role("button", name="Review").wait_for()
        elif step == "where":
            page.get_by_role("button", name="Review").click()
            page.get_by_role("button", name="Restore now").wait_for()
    assert too_wide == []
