"""One server with a fleet in every state, one without any host, and a browser for both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from demo.processes import free_port
from tests.access import scene
from tests.access.scene import Scene
from tests.browser.conftest import REPORT_VIOLATIONS, Server, Watched, sign_in

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"


@dataclass
class Stage:
    """A running server and what is to be seen on it."""

    server: Server
    scene: Scene


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from _stage(tmp_path_factory.mktemp("full"), None)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from _stage(tmp_path_factory.mktemp("empty"), lambda now: Scene())


def _stage(root: Path, fill: Callable[[datetime], Scene] | None) -> Iterator[Stage]:
    found = scene.prepare(root / "data", now=datetime.now(timezone.utc), fill=fill)
    server = Server(f"http://127.0.0.1:{free_port()}", root / "data", root / "server.log")
    server.start()
    yield Stage(server, found)
    server.stop()


@pytest.fixture
def look(chromium: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a stage in a fresh browser profile, signed in as alice unless told otherwise."""
    contexts: list[BrowserContext] = []
    pages: list[Watched] = []

    def open_one(stage: Stage, *, is_signed_in: bool = True, **options: Any) -> Watched:
        # Each time: the stage outlives many tests, and a host is offline after 90 s without a sign of life.
        scene.connect(stage.server.data_dir)
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.add_init_script(REPORT_VIOLATIONS)
        contexts.append(context)
        watched = Watched(context.new_page(), stage.server.url, expected=("404",))
        pages.append(watched)
        if is_signed_in:
            sign_in(watched)
        return watched

    yield open_one
    for watched in pages:
        watched.check()
    for context in contexts:
        context.close()
