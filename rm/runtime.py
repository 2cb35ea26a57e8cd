"""What the running server holds together; made once by the factory, found at current_app.extensions["rm"]."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from flask import Flask, current_app

from rm.config import Settings
from rm.events import EventBus
from rm.offload import offload
from rm.services.agents import Agents
from rm.services.oidc_client import Provider
from rm.services.scrapes import Scrapes
from rm.services.tries import Tries
from rm.store.vault import Vault
from rm.store.writer import Writer


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Runtime:
    """The server's parts. `clock` gives the present instant in UTC; tests pass their own."""

    settings: Settings
    bus: EventBus
    vault: Vault
    writer: Writer
    agents: Agents
    limits: Tries = field(default_factory=Tries)
    scrapes: Scrapes = field(default_factory=Scrapes)
    clock: Callable[[], datetime] = utc_now
    offload: Callable[..., Any] = offload
    setup_link: str | None = None
    oidc: Provider | None = None
    is_stopping: bool = False


def runtime(app: Flask | None = None) -> Runtime:
    """The runtime of this application."""
    found: Runtime = (app or current_app).extensions["rm"]
    return found
