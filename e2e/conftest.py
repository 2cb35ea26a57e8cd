"""One stage for all end-to-end tests, and a browser whose trace and pictures stay when a test fails."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from e2e import stages
from e2e.stages import Stage
from tests.browser.conftest import CHROMIUM, REPORT_VIOLATIONS

KEPT = Path(__file__).resolve().parents[1] / "test-results" / "e2e"
# A busy machine stalls for seconds; each wait ends as soon as there is something to see.
WAIT_MS = 90_000


def pytest_configure() -> None:
    # Told to end, the tests still end their machines and containers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    expect.set_options(timeout=WAIT_MS)


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
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, stage: Stage, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a fresh profile; a failed test leaves its trace, its last picture and the logs of server and hosts."""
    context: BrowserContext = browser.new_context(viewport={"width": 1360, "height": 900}, base_url=stage.url)
    context.add_init_script(REPORT_VIOLATIONS)
    context.tracing.start(screenshots=True, snapshots=True)
    found = context.new_page()
    found.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    failed_before = request.session.testsfailed
    yield found
    if request.session.testsfailed > failed_before or complaints:
        keep(request.node.name, found, stage)
    context.close()
    assert complaints == []


def keep(name: str, page: Page, stage: Stage) -> None:
    """Write what helps to understand a failure; one thing that cannot be had does not cost the others."""
    KEPT.mkdir(parents=True, exist_ok=True)

    def text_of(log: Callable[[], str], of: str) -> None:
        (KEPT / f"{name}.{of}.log").write_text(log())

    steps: list[Callable[[], object]] = [
        lambda: page.screenshot(path=KEPT / f"{name}.png", full_page=True),
        lambda: page.context.tracing.stop(path=KEPT / f"{name}.zip"),
        lambda: text_of(stage.log, "server"),
        *(lambda host=host: text_of(host.log, host.name.partition("-")[0]) for host in stage.hosts),
    ]
    for step in steps:
        try:
            step()
        except Exception as problem:  # noqa: BLE001 - the test has failed already
            print(f"Not kept: {problem}")
    print(f"\nSee {KEPT.relative_to(KEPT.parents[1])}/{name}.*")
