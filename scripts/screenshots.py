"""Pictures for the documentation: of a first backup and a restore from a real run, of nights, updates, alerts and
people from fleets that are made up, on a real server.

`python -m scripts.screenshots [backup] [nights] [updates] [signals]` writes docs/images/*.png, each light and dark,
some also as a phone shows them.
"""

import base64
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.processes import free_port
from scripts import backup_scene, signals_scene, update_scene
from scripts.camera import DESK, IMAGES, called_otherwise, keep
from tests.access import scene
from tests.browser.conftest import (
    CHROMIUM,
    PASSWORD,
    Agent,
    Server,
    Watched,
    add_host,
    set_up,
    sign_in,
)

LOW = {"width": 1280, "height": 440}
TALL = {"width": 1280, "height": 1120}
BADGE = "#job-head .status--badge"
PROVIDER = {
    "RM_OIDC_ISSUER": "https://id.example.net", "RM_OIDC_CLIENT_ID": "backups", "RM_OIDC_CLIENT_SECRET": "example",
    "RM_OIDC_ROLE_CLAIM": "groups", "RM_OIDC_ROLE_ADMIN": "backup-admins", "RM_OIDC_LABEL": "Example ID",
}  # fmt: skip
FLEET_STATES = ("running", "halted", "cancelling")


def main() -> None:
    """Keep what the pages look like; all of them, or those that the arguments name."""
    if CHROMIUM is None:
        sys.exit("needs chromium: scripts/system-packages installs it")
    IMAGES.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or ["backup", "nights", "updates", "signals"]
    if "backup" in wanted:
        backup()
    if "nights" in wanted:
        nights()
    if "updates" in wanted:
        updates()
    if "signals" in wanted:
        signals()


def backup() -> None:
    """The first backup of a host, and what a restore from it looks like."""
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
        called_otherwise(page, server.url, root)
        set_up(watched)
        keep(page, "fleet-empty")
        announce(server.url)
        watched.go("/hosts/add")
        page.get_by_role("button", name="Make the line").click()
        page.locator("#waiting").wait_for()
        keep(page, "add-host")
        watched.go("/pending-hosts")
        page.get_by_role("link", name="edge-7").first.click()
        keep(page, "announced")
        host_path = add_host(watched, server, agent)
        watched.go(f"{host_path}/settings")
        page.get_by_label("Name", exact=True).fill("web-1")
        page.get_by_label("Tags").fill("production")
        watched.press("Save")
        watched.go(f"{host_path}/repository")
        page.get_by_label("Name", exact=True).fill("attic")
        page.get_by_label("Location").fill(str(root / "repository"))
        page.get_by_label("Repository password").fill(PASSWORD)
        watched.press("Save repository")
        watched.go(f"{host_path}/sources/new")
        page.get_by_label("Name", exact=True).fill("letters")
        page.get_by_label("Include").fill(str(files))
        watched.press("Save group")
        watched.go(host_path)
        keep(page, "first-steps")
        page.locator("#steps").get_by_role("button", name="Create repository").click()
        done(page)
        watched.go(host_path)
        page.locator("#steps").get_by_role("button", name="Back up now").click()
        done(page)
        # the figures in the bar follow a second later
        page.reload()
        keep(page, "job")
        watched.go(host_path)
        keep(page, "host")
        watched.go("/repositories")
        page.get_by_role("link", name="attic").click()
        keep(page, "repository")
        bring_back(watched, host_path, files)
        browser.close()


def bring_back(watched: Watched, host_path: str, files: Path) -> None:
    """Two snapshots compared; one looked into, some of it picked, reviewed and restored."""
    page = watched.page
    for number in range(3):
        (files / f"letter-{number:02}.txt").write_text("dear reader, once more\n")
    (files / "letter-07.txt").unlink()
    (files / "letter to my sister.txt").write_text("dear sister\n" * 300)
    watched.go(host_path)
    page.locator("#sources").get_by_role("button", name="Back up now").first.click()
    done(page)
    watched.go(f"{host_path}/snapshots")
    expect(page.locator("#snapshots tbody tr")).to_have_count(2)
    keep(page, "snapshots")
    for box in page.locator("#snapshots input[name=snapshot]").all():
        box.check()
    page.get_by_role("button", name="Compare the two").click()
    done(page)
    expect(page.locator("#job-log")).to_contain_text("letter to my sister")
    keep(page, "job-diff")
    watched.go(f"{host_path}/snapshots")
    page.locator("#snapshots tbody tr th a").last.click()
    for name in files.parts[1:]:
        page.locator("#browser").get_by_role("link", name=f"{name}/", exact=True).click()
        expect(page.locator(".crumbs--path [aria-current]")).to_have_text(name)
    for count, name in enumerate(("letter-00.txt", "letter-07.txt"), 1):
        page.get_by_role("checkbox", name=f"Restore {name}").check()
        expect(page.locator("#picked-title .count")).to_have_text(str(count))
    keep(page, "snapshot", has_phone=True)
    page.get_by_role("link", name="Choose where to").click()
    page.get_by_role("button", name="Review").click()
    expect(page.locator("#restore-size")).to_contain_text("in 2 files")
    keep(page, "restore-review", has_phone=True)
    page.get_by_role("button", name="Restore now").click()
    done(page)
    keep(page, "restore-job")


def nights() -> None:
    """A fleet that backs itself up: the verdicts, what and when of a host, a template, a repository in order."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with shown(browser, "nights") as (watched, found):
            page = watched.page
            page.set_viewport_size(TALL)
            watched.go("/")
            keep(page, "fleet-nights", has_phone=True)
            watched.go(f"/hosts/{found.hosts['web-1']}")
            keep(page, "host-nights", has_phone=True)
            watched.go(f"/hosts/{found.hosts['nas-attic']}")
            keep(page, "why-missed", part="#why")
            watched.go(f"/hosts/{found.hosts['web-1']}/schedules/{found.schedules['web-1']}")
            keep(page, "schedule")
            watched.go(f"/hosts/{found.hosts['web-1']}/sources/{found.groups['web-1/system']}")
            page.locator(".choice", has_text="Standard").click()
            expect(page.locator("#retention-preview")).to_contain_text("Keeps 7 daily")
            page.locator("#retention").evaluate("(card) => card.scrollIntoView()")
            keep(page, "retention")
            watched.go(f"/hosts/{found.hosts['web-1']}/sources/{found.groups['web-1/shop']}")
            keep(page, "hooks", part="section[aria-labelledby=rare-title]")
            page.set_viewport_size(LOW)
            watched.go(f"/jobs/{found.waiting_job}")
            keep(page, "job-waits")
            page.set_viewport_size(DESK)
            watched.go(f"/templates/{found.template_id}/apply?tag=servers")
            keep(page, "template-apply")
            page.set_viewport_size(TALL)
            watched.go(f"/repositories/{found.repositories['offsite']}?days=90")
            keep(page, "repository-upkeep")
        browser.close()


def updates() -> None:
    """Hosts that are behind, the update card, and a fleet update that is planned, runs, has halted, is cancelled."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with shown(browser, "cards") as (watched, found):
            watched.go("/?status=behind")
            keep(watched.page, "fleet-behind")
            watched.go(f"/hosts/{found.hosts['mail-1']}")
            keep(watched.page, "host-updating", has_phone=True)
            watched.go(f"/hosts/{found.hosts['pos-lyon-1']}")
            keep(watched.page, "update-card-preflight-refused", part="#update-card")
        with shown(browser, "plan") as (watched, _):
            watched.go("/settings/fleet-update?canaries=1&waves=4,3")
            keep(watched.page, "fleet-update-plan")
        for state in FLEET_STATES:
            with shown(browser, state) as (watched, found):
                watched.go(f"/settings/fleet-update/{found.fleet_id}")
                keep(watched.page, f"fleet-update-{state}", has_phone=state == "running")
        browser.close()


def signals() -> None:
    """What is wrong and who is told, the people and programs that are let in, and the server itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        os.environ.update(PROVIDER)
        with shown(browser, "signals") as (watched, found):
            page, fresh = watched.page, browser.new_context(viewport=DESK, reduced_motion="reduce").new_page()
            fresh.goto(f"{watched.url}/login")
            keep(fresh, "login")
            watched.go("/alerts")
            keep(page, "alerts")
            watched.go("/settings/notifications")
            keep(page, "notifications")
            watched.go(f"/settings/notifications/{found.channel_id}")
            page.locator("#log").evaluate("(log) => log.scrollIntoView()")
            keep(page, "deliveries")
            watched.go("/settings/users")
            keep(page, "users")
            watched.go("/settings/tokens")
            keep(page, "tokens")
            watched.go("/settings/general")
            keep(page, "settings-general")
            watched.go("/settings/alerts")
            keep(page, "alert-patience")
            watched.go("/audit?who=alice")
            keep(page, "audit")
            watched.go("/api")
            keep(page, "api")
            page.set_viewport_size(TALL)
            watched.go(f"/alerts/{found.incident_id}")
            keep(page, "incident", has_phone=True)
            watched.go("/settings/metrics")
            keep(page, "metrics")
            watched.go("/settings/server")
            keep(page, "server-care")
            page.set_viewport_size(DESK)
            watched.go("/settings/account")
            page.get_by_label("Your password").fill(PASSWORD)
            page.get_by_role("button", name="Set up").click()
            page.locator("#second-factor, #confirm, svg").first.wait_for()
            keep(page, "second-factor")
            signals_scene.protect(found.data_dir, datetime.now(timezone.utc))
            watched.go("/settings/account")
            keep(page, "account")
        for name in PROVIDER:
            del os.environ[name]
        browser.close()


@contextmanager
def shown(browser: Browser, what: str) -> Iterator[tuple[Watched, Any]]:
    """A server with this fleet, and a page that is signed in there."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        makes = {
            "cards": update_scene.cards, "plan": update_scene.add_hosts, "nights": backup_scene.nights,
            "signals": partial(signals_scene.signals, data),
        }  # fmt: skip
        found = scene.prepare(
            data, now=datetime.now(timezone.utc), fill=makes.get(what, lambda now: update_scene.fleet(what, now))
        )
        server = Server(f"http://127.0.0.1:{free_port()}", data, Path(name) / "server.log")
        os.environ["RM_BASE_URL"] = server.url
        server.start()
        scene.connect(data)
        context = browser.new_context(viewport=DESK, reduced_motion="reduce")
        try:
            watched = Watched(context.new_page(), server.url)
            called_otherwise(watched.page, server.url, Path(name))
            sign_in(watched)
            yield watched, found
        finally:
            context.close()
            server.stop()


def announce(url: str) -> None:
    """A machine that asks to be let in and shows the fingerprint of its own key."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    body = {"hostname": "edge-7", "os": "linux", "arch": "arm64", "agent_version": "0.1.0", "agent_seq": 1}
    body |= {"machine_id": "edge-7", "public_key": base64.b64encode(key).decode()}
    requests.post(f"{url}/agent/announce", json=body, timeout=10).raise_for_status()


def done(page: Page) -> None:
    expect(page.locator(BADGE)).to_have_text("Succeeded", timeout=60_000)


if __name__ == "__main__":
    main()
