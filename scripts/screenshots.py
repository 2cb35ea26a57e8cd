"""Pictures for the documentation, taken from a real run: one server, one agent, real restic, Chromium.

`python -m scripts.screenshots` writes docs/images/*.png, each light and dark.
"""

import base64
import sys
import tempfile
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, PASSWORD, Agent, Server, Watched, add_host, free_port, set_up

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DESK = {"width": 1280, "height": 860}
BADGE = "#job-head .status--badge"


def main() -> None:
    """Play the first backup of a host and keep what its pages look like."""
    if CHROMIUM is None:
        sys.exit("needs chromium: scripts/system-packages installs it")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        server = Server(f"http://127.0.0.1:{free_port()}", root / "data", root / "server.log")
        agent = Agent(root / "agent")
        agent.root.mkdir()
        try:
            server.start()
            play(server, agent, root)
        finally:
            agent.stop()
            server.stop()


def play(server: Server, agent: Agent, root: Path) -> None:
    files = root / "letters"
    files.mkdir()
    for number in range(40):
        (files / f"letter-{number:02}.txt").write_text(f"dear reader {number}\n" * 400)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        watched = Watched(browser.new_context(viewport=DESK, reduced_motion="reduce").new_page(), server.url)
        page = watched.page
        set_up(watched)
        announce(server.url)
        watched.go("/hosts/add")
        page.get_by_role("button", name="Make the line").click()
        page.locator("#waiting").wait_for()
        keep(page, "add-host")
        watched.go("/pending-hosts")
        page.get_by_role("link", name="edge-7").first.click()
        keep(page, "announced")
        host_path = add_host(watched, server, agent)
        page.goto(f"{server.url}{host_path}/settings")
        page.get_by_label("Name", exact=True).fill("web-1")
        page.get_by_label("Tags").fill("production")
        page.get_by_role("button", name="Save").click()
        page.goto(f"{server.url}{host_path}/repository")
        page.get_by_label("Name", exact=True).fill("attic")
        page.get_by_label("Location").fill(str(root / "repository"))
        page.get_by_label("Repository password").fill(PASSWORD)
        page.get_by_role("button", name="Save repository").click()
        page.goto(f"{server.url}{host_path}/sources/new")
        page.get_by_label("Name", exact=True).fill("letters")
        page.get_by_label("Include").fill(str(files))
        page.get_by_role("button", name="Save group").click()
        watched.go(host_path)
        keep(page, "first-steps")
        page.locator("#steps").get_by_role("button", name="Create repository").click()
        done(page)
        watched.go(host_path)
        page.locator("#steps").get_by_role("button", name="Back up now").click()
        done(page)
        keep(page, "job")
        watched.go(host_path)
        keep(page, "host")
        watched.go("/")
        keep(page, "fleet")
        watched.go("/repositories")
        page.get_by_role("link", name="attic").click()
        keep(page, "repository")
        browser.close()


def announce(url: str) -> None:
    """A machine that asks to be let in and shows the fingerprint of its own key."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    body = {"hostname": "edge-7", "os": "linux", "arch": "arm64", "agent_version": "0.1.0", "agent_seq": 1}
    body |= {"machine_id": "edge-7", "public_key": base64.b64encode(key).decode()}
    requests.post(f"{url}/agent/announce", json=body, timeout=10).raise_for_status()


def done(page: Page) -> None:
    expect(page.locator(BADGE)).to_have_text("Succeeded", timeout=60_000)


def keep(page: Page, name: str) -> None:
    """The page as it is now, once in each theme."""
    page.wait_for_load_state("load")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=IMAGES / f"{name}-{scheme}.png")
    page.emulate_media(color_scheme="light")


if __name__ == "__main__":
    main()
