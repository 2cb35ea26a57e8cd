"""A real gunicorn, a real agent, a real browser; all on loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from demo.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
SETUP_TOKEN = "setup-for-tests"
WAIT_MS = 40_000
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# `expect` has a limit of its own, 5 s, whatever a page's default is; making a repository alone may take so long.
expect.set_options(timeout=WAIT_MS)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1360, "height": 900}

# What Chromium answers when the page before is on a way of its own at that moment: a form's answer, or the sign-in
# page of a session that ended.
IS_LEAVING = ("net::ERR_ABORTED", "interrupted by another navigation", "Not attached to an active page")

REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error('CSP ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile);
});
"""


@dataclass
class Server:
    """One server process on its own data directory."""

    url: str
    data_dir: Path
    log_file: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = os.environ | {
            "RM_LISTEN": self.url.removeprefix("http://"),
            "RM_DATA_DIR": str(self.data_dir),
            "RM_SETUP_TOKEN": SETUP_TOKEN,
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:app"],
                cwd=ROOT, env=environ, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._answers, "the server to answer", 90)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.process = None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.log()[-3000:]}")
        try:
            return requests.get(f"{self.url}/healthz", timeout=10).status_code == 200
        except requests.RequestException:
            return False


@dataclass
class Agent:
    """One agent below a directory of its own."""

    root: Path
    process: subprocess.Popen[bytes] | None = None

    def enrol(self, server: Server, token: str) -> None:
        environ = os.environ | {"RM_TOKEN": token}
        command = [sys.executable, "-m", "agent", "--root", str(self.root), "enroll", "--server", server.url]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        with (self.root / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent", "--root", str(self.root), "run"], cwd=ROOT, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)
        self.process = None


@dataclass
class Watched:
    """A page whose console is watched: any error or refused resource fails the test."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def go(self, path: str) -> Page:
        return self._ask_for(self.url + path)

    def go_again(self) -> Page:
        """The same address asked for anew."""
        return self._ask_for(self.page.url)

    def press(self, name: str) -> Page:
        """Press a form's button and return with the page that answers, so that nothing asked next overtakes it."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()
        return self.page

    def _ask_for(self, address: str) -> Page:
        for tries_left in reversed(range(5)):
            try:
                self.page.goto(address)
                break
            except Error as problem:
                if not tries_left or not any(words in problem.message for words in IS_LEAVING):
                    raise
                self.page.wait_for_load_state()
        return self.page

    def check(self) -> None:
        """Fails on anything the browser complained about, but for what the test expects."""
        heard = [one for one in self.complaints if not any(part in one for part in self.expected)]
        assert heard == []


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Returns once the condition holds; fails the test after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


def build_agent() -> None:
    """The artifact that the server hands out, built if it is not there yet."""
    artifact = ROOT / "dist" / "rm-agent"
    if not artifact.exists():
        command = [sys.executable, "-m", "agent.packaging.build", "--output", str(artifact)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(f"http://127.0.0.1:{free_port()}", tmp_path / "data", tmp_path / "server.log")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    root = tmp_path / "agent"
    root.mkdir()
    found = Agent(root)
    yield found
    found.stop()


@pytest.fixture
def open_page(chromium: Browser, server: Server) -> Iterator[Callable[..., Watched]]:
    """Opens pages in fresh browser profiles; checks at the end that no console complained."""
    contexts: list[BrowserContext] = []
    pages: list[Watched] = []

    def open_one(**options: Any) -> Watched:
        context = chromium.new_context(**({"viewport": DESK} | options))
        context.add_init_script(REPORT_VIOLATIONS)
        contexts.append(context)
        pages.append(Watched(context.new_page(), server.url))
        return pages[-1]

    yield open_one
    for watched in pages:
        watched.check()
    for context in contexts:
        context.close()


def set_up(watched: Watched) -> None:
    """From the setup link to the empty fleet page, as a person does it."""
    page = watched.go(f"/setup?token={SETUP_TOKEN}")
    page.get_by_label("Name", exact=True).fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("heading", name="No hosts yet").wait_for()


def sign_in(watched: Watched, name: str = "alice") -> None:
    page = watched.go("/login")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    watched.press("Sign in")
    page.locator(".nav__user").wait_for(state="attached")


def token_on(page: Page) -> str:
    """The token in the install line that the page shows."""
    line = page.locator("#install-line").inner_text()
    found = re.search(r"rme_[\w-]+", line)
    assert found is not None, line
    return found.group()


def add_host(watched: Watched, server: Server, agent: Agent) -> str:
    """Enrol and start the agent through the page; the new host's path."""
    page = watched.go("/hosts/add")
    page.get_by_role("button", name="Make the line").click()
    agent.enrol(server, token_on(page))
    agent.start()
    page.get_by_role("link", name="Choose what to back up").click()
    page.locator("#host-head").wait_for()
    return page.url.removeprefix(server.url)
