"""Browsers of the cast: signed-in test clients, and how to read a page by meaning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from rm.domain.actors import Actor
from rm.services import sessions
from rm.store.models import User
from tests import cast

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Page:
    """One answer, read as a person would."""

    response: TestResponse
    soup: BeautifulSoup

    @property
    def status(self) -> int:
        return self.response.status_code

    def find(self, selector: str) -> Tag:
        """The first element; fails the test when there is none."""
        found = self.soup.select_one(selector)
        assert found is not None, f"no {selector} on the page"
        return found

    def has(self, selector: str) -> bool:
        return self.soup.select_one(selector) is not None

    def text(self, selector: str = "body") -> str:
        """An element's words, with single spaces."""
        return " ".join(self.find(selector).get_text(" ").split())


class Browser:
    """Somebody's browser: keeps cookies, says that its requests come from our own pages."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **options: Any) -> Page:
        return self._page(self.client.get(path, **options))

    def post(self, path: str, data: dict[str, str] | None = None, **options: Any) -> Page:
        headers = SAME_ORIGIN | options.pop("headers", {})
        return self._page(self.client.post(path, data=data or {}, headers=headers, **options))

    @staticmethod
    def _page(response: TestResponse) -> Page:
        text = response.get_data(as_text=True) if response.mimetype == "text/html" else ""
        return Page(response, BeautifulSoup(text, "html.parser"))


@pytest.fixture
def browser_of(app: Flask) -> Callable[[Actor], Browser]:
    """Opens a browser in which somebody is signed in already."""

    def open_browser(actor: Actor) -> Browser:
        client = app.test_client()
        user = User.get_by_id(actor.id)
        token = sessions.open_session(user, method="password", address=actor.address, user_agent="", now=cast.NOW)
        client.set_cookie("rm_session", token, domain="localhost")
        return Browser(client)

    return open_browser


@pytest.fixture
def alice(browser_of: Callable[[Actor], Browser]) -> Browser:
    return browser_of(cast.ALICE)


@pytest.fixture
def bob(browser_of: Callable[[Actor], Browser]) -> Browser:
    return browser_of(cast.BOB)


@pytest.fixture
def charlie(browser_of: Callable[[Actor], Browser]) -> Browser:
    return browser_of(cast.CHARLIE)


@pytest.fixture
def stranger(app: Flask) -> Browser:
    return Browser(app.test_client())
