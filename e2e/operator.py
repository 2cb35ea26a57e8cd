"""What an operator does in the browser, one verb for each thing."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from e2e.stages import SETUP_TOKEN, Host, Stage
from tests.install.server import until

NAME, PASSWORD = "alice", "correct horse battery"
JOB = "#job-head .status--badge"
# Restic, systemd and a busy machine take their time; each wait ends as soon as there is something to see.
LONG_MS = 300_000
LONG = LONG_MS / 1000


@dataclass
class Operator:
    """A person at the browser."""

    page: Page
    stage: Stage
    fleet_update_path: str = ""

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """A part of the story: named in the trace, in the failure, and on the terminal with how long it took."""
        begun = time.monotonic()
        self.page.context.tracing.group(title)
        try:
            yield
        except BaseException as problem:
            problem.add_note(f"This happened in the chapter: {title}")
            raise
        finally:
            self.page.context.tracing.group_end()
            print(f"\n{time.monotonic() - begun:5.0f} s  {title}", end="", flush=True)

    def make_the_first_account(self) -> None:
        self.page.goto(f"/setup?token={SETUP_TOKEN}")
        assert "token" not in self.page.url
        self.page.get_by_label("Name", exact=True).fill(NAME)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_label("Password once more").fill(PASSWORD)
        self.page.get_by_role("button", name="Create account").click()
        expect(self.page.get_by_role("heading", name="No hosts yet")).to_be_visible()

    def sign_out(self) -> None:
        self.page.locator(".nav__user summary").click()
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_role("button", name="Sign in")).to_be_visible()

    def sign_in(self) -> None:
        self.page.goto("/login")
        self.page.get_by_label("Name", exact=True).fill(NAME)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator(".nav__user").wait_for()

    def make_current(self, version: str) -> None:
        """Choose the release that hosts are to run."""
        self.page.goto("/settings/updates")
        row = self.page.locator("#releases tbody tr", has_text=version)
        href = row.get_by_role("link", name="Make current").get_attribute("href")
        self.page.goto(str(href))
        self.page.get_by_role("button", name="Make current").click()
        expect(self.page.locator("#current-release")).to_contain_text(version)

    def let_in(self, host: Host) -> str:
        """Compare the fingerprint with the one on the machine's screen, and approve; the path of the host's page."""
        shown = until(lambda: _fingerprint(host.said()), f"{host.name} to show its fingerprint", seconds=LONG)
        self.page.goto("/")
        self.page.get_by_role("link", name=re.compile(re.escape(host.name))).first.click()
        self.page.locator(".fingerprint").first.wait_for()
        assert _fingerprint(self.page.locator(".fingerprint").first.inner_text()) == shown
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=re.compile("approve")).click()
        path = until(lambda: self._host_path(host.name), f"{host.name} to come in", seconds=LONG)
        until(lambda: "is connected" in host.said(), f"the install script to end well: {host.said()}", seconds=LONG)
        self.page.goto(path)
        expect(self.page.locator("#host-head")).to_contain_text("Connected")
        return path

    def give_repository(self, host_path: str, location: str) -> None:
        self.page.goto(f"{host_path}/repository")
        self.page.get_by_label("Name", exact=True).fill("attic")
        self.page.get_by_label("Location").fill(location)
        self.page.get_by_label("Repository password").fill("not for logs")
        self.page.get_by_role("button", name="Save repository").click()
        self.page.locator("#host-head").wait_for()

    def choose_what(self, host_path: str, name: str, folder: str) -> None:
        self.page.goto(f"{host_path}/sources/new")
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_label("Include").fill(folder)
        self.page.get_by_role("button", name="Save group").click()
        self.page.locator("#host-head").wait_for()

    def press_step(self, host_path: str, word: str) -> None:
        """One of the steps to the first backup, to the end of its job."""
        self.page.goto(host_path)
        self.page.locator("#steps").get_by_role("button", name=word).click()
        self.page.wait_for_url(re.compile("/jobs/"))
        expect(self.page.locator(JOB)).to_have_text("Succeeded", timeout=LONG_MS)

    def plan_a_run_soon(self, host_path: str) -> None:
        """A daily schedule whose time comes in about two minutes; the hosts' clocks show UTC."""
        path = f"{host_path}/schedules/new"
        while True:
            self.page.goto(path)
            self.page.get_by_label("Name", exact=True).fill("nightly")
            self.page.get_by_label("Spread the start").fill("0")
            at = (datetime.now(timezone.utc) + timedelta(seconds=150)).replace(second=0, microsecond=0)
            self.page.get_by_label("At", exact=True).fill(f"{at:%H:%M}")
            self.page.get_by_role("button", name=re.compile("^Save")).click()
            expect(self.page.locator("#schedules")).to_contain_text("nightly")
            if datetime.now(timezone.utc) < at - timedelta(seconds=30):
                return
            # The machine stood still, and the host may hear of it too late: again, with a later time.
            path = str(self.page.locator("#schedules").get_by_role("link", name="nightly").get_attribute("href"))

    def sees_a_run_that_nobody_ordered(self, host_path: str, group: str) -> None:
        self.page.goto(host_path)
        row = self.page.locator("#jobs tbody tr", has_text=group)
        expect(row.nth(1)).to_contain_text("Succeeded", timeout=LONG_MS)

    def end_schedule(self, host_path: str) -> None:
        """Switch it off, so that it meets nothing that comes after."""
        self.page.goto(host_path)
        self.page.locator("#schedules").get_by_role("button", name="Switch off nightly").click()
        expect(self.page.locator("#schedules").get_by_role("button", name="Switch on nightly")).to_be_visible()

    def restore(self, host_path: str, file: str) -> str:
        """Pick one file of the newest snapshot and restore it; where the page says that it is now."""
        self.page.goto(f"{host_path}/snapshots")
        self.page.locator("#snapshots tbody tr th a").first.click(timeout=LONG_MS)
        *folders, name = file.strip("/").split("/")
        for folder in folders:
            link = self.page.locator("#browser").get_by_role("link", name=f"{folder}/", exact=True)
            expect(link).to_be_visible(timeout=LONG_MS)
            link.click()
            expect(self.page.locator(".crumbs--path [aria-current]")).to_have_text(folder, timeout=LONG_MS)
        self.page.get_by_role("checkbox", name=f"Restore {name}").check()
        expect(self.page.locator("#picked-title .count")).to_have_text("1")
        self.page.get_by_role("link", name="Choose where to").click()
        self.page.get_by_role("button", name="Review").click()
        self.page.get_by_role("button", name="Restore now").click()
        self.page.wait_for_url(re.compile("/jobs/"))
        expect(self.page.locator(JOB)).to_have_text("Succeeded", timeout=LONG_MS)
        return f"{self.page.locator('#job-restore dd .mono').first.inner_text()}{file}"

    def update_one(self, host_path: str, version: str) -> None:
        self.page.goto(host_path)
        card = self.page.locator("#update-card")
        card.get_by_role("link", name="Update agent").click()
        self.page.locator("#update-agent").get_by_role("button", name="Update agent").click()
        expect(card).to_contain_text(f"runs {version} and has kept it", timeout=LONG_MS)

    def start_fleet_update(self) -> None:
        self.page.goto("/settings/fleet-update")
        self.page.get_by_label("Soak").fill("5")
        self.page.get_by_role("button", name="Plan again").click()
        self.page.get_by_role("button", name="Take this plan").click()
        self.page.get_by_role("button", name=re.compile("^Start with")).click()
        self.page.locator("#fleet-update-head").wait_for()
        self.fleet_update_path = urlsplit(self.page.url).path

    def sees_fleet_update(self, words: str) -> None:
        expect(self.page.locator("#fleet-update-head h1")).to_contain_text(
            re.compile(words, re.IGNORECASE), timeout=LONG_MS
        )

    def end_fleet_update(self) -> None:
        """Let the one that halted be over."""
        self.page.goto(f"{self.fleet_update_path}/cancel")
        self.page.get_by_role("button", name="Cancel update").click()
        self.sees_fleet_update("cancelled")

    def sees_agent(self, host_path: str, version: str) -> None:
        self.page.goto(host_path)
        expect(self.page.locator("#host-head")).to_contain_text("Connected", timeout=LONG_MS)
        expect(self.page.locator("#host-head")).to_contain_text(version, timeout=LONG_MS)

    def _host_path(self, name: str) -> str:
        self.page.goto("/")
        link = self.page.locator("#hosts tbody tr", has_text=name).locator("th a")
        if link.count() == 0:
            return ""
        return urlsplit(str(link.first.get_attribute("href"))).path


def _fingerprint(text: str) -> str:
    """The 64 digits of the fingerprint that stands somewhere in a text, in groups; empty when none does."""
    groups = re.findall(r"\b[0-9a-f]{4}\b", text)
    return "".join(groups[-16:]) if len(groups) >= 16 else ""
