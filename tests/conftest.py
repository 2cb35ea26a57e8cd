"""What most tests stand on: a real database file, the wired application, and the cast."""

import gc
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from rm.config import Settings
from rm.events import EventBus
from rm.factory import create_app
from rm.runtime import Runtime, runtime
from rm.store import database
from rm.store.vault import Vault
from tests import cast
from tests.cast import EnrolledHost
from tests.quick_start import KeptTemplates, keep_routes, new_database

# argon2 at the least cost, so that a test that signs in takes milliseconds
QUICK_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(cast.PASSWORD)


keep_routes()
TEMPLATES = KeptTemplates()


# Whose files take minutes, most of them by waiting: they begin first, so that no worker is alone with one at the end.
LONGEST_FIRST = (
    "process", "systemd", "access", "agent", "fleet", "image", "sweep", "browser", "gate", "install", "api", "soak",
)  # fmt: skip
HERE = Path(__file__).parent


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def pytest_configure() -> None:
    """A script's background job is born deaf to interrupts, and so would be all that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        directory = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        return LONGEST_FIRST.index(directory) if directory in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """What lives until the end anyway is not looked through again at each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """What a command under test does to the process's umask ends with the test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", base_url="http://localhost").checked()


@pytest.fixture
def clock() -> Clock:
    return Clock(cast.NOW)


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Iterator[Flask]:
    """The wired application with the people of the cast; no background work runs, one connection is open."""
    settings.data_dir.mkdir(mode=0o700)
    settings.database_file.write_bytes(new_database())
    app = create_app(settings)
    app.jinja_env.bytecode_cache = TEMPLATES
    app.config["TESTING"] = True
    app.config["RM_KEEP_CONNECTION"] = True
    # tests write rows behind the services' backs, which no event tells
    app.extensions["rm_fleet_summary"].most_seconds = 0
    app.extensions["rm_shared_parts"].row_seconds = 0
    runtime(app).clock = clock
    with database.connection():
        cast.add_people(QUICK_HASH)
        yield app


@pytest.fixture
def parts(app: Flask) -> Runtime:
    return runtime(app)


@pytest.fixture
def bus(parts: Runtime) -> EventBus:
    return parts.bus


@pytest.fixture
def vault(parts: Runtime) -> Vault:
    return parts.vault


@pytest.fixture
def web1(bus: EventBus) -> EnrolledHost:
    return cast.add_host(bus, "web1")


@pytest.fixture
def db1(bus: EventBus) -> EnrolledHost:
    return cast.add_host(bus, "db1")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that is not signed in."""
    return app.test_client()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests that want one; Playwright runs only once in a process."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()
