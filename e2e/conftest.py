"""One stage for all end-to-end tests, and a browser whose trace and pictures stay when a test fails."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from e2e import stages
from e2e.stages import Stage
from tests.browser.conftest import CHROMIUM, REPORT_VIOLATIONS

KEPT = Path(__file__).resolve().parents[1] / "test-results" / "e2e"


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if os.environ.get("RM_E2E_STAGE") == "compose":
        with stages.in_containers() as found:
            yield found
        return
    absent = stages.missing()
    if absent:
        pytest.skip(absent)
    with stages.local(tmp_path_factory.mktemp("e2e")) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, stage: Stage, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a fresh profile; a failed test leaves its trace, its last picture and the server's log."""
    context: BrowserContext = browser.new_context(viewport={"width": 1360, "height": 900}, base_url=stage.url)
    context.add_init_script(REPORT_VIOLATIONS)
    context.tracing.start(screenshots=True, snapshots=True)
    found = context.new_page()
    found.set_default_timeout(60_000)
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    failed_before = request.session.testsfailed
    yield found
    if request.session.testsfailed > failed_before:
        KEPT.mkdir(parents=True, exist_ok=True)
        name = request.node.name
        found.screenshot(path=KEPT / f"{name}.png", full_page=True)
        context.tracing.stop(path=KEPT / f"{name}.zip")
        (KEPT / f"{name}.server.log").write_text(stage.log())
    context.close()
    assert complaints == []
