"""One provider for these tests, a server that knows it, and a person at a browser between the two."""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup

from rm.config import Settings
from rm.services import sessions
from tests.conftest import Clock
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, PASSWORD, PROGRAMS, Provider, free_port
from tests.web.conftest import Browser, Page, alice, browser_of, stranger

__all__ = ["alice", "browser_of", "stranger"]

BASE_URL = "http://localhost"


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Canaille with admins, an operator, viewers (one named as a local account), and gary, who is nobody here."""
    if not (PROGRAMS / "canaille").exists():
        pytest.skip("needs scripts/make-venv oidc")
    provider = Provider(tmp_path_factory.mktemp("provider"), free_port())
    provider.set_up(
        [f"{BASE_URL}/login/oidc/callback"],
        {
            "rm-admins": ["erin", "victor"],
            "rm-operators": ["oscar"],
            "rm-viewers": ["alice", "peggy", "heidi"],
            "gardeners": ["gary", "heidi"],
        },
    )
    provider.start()
    yield provider
    provider.stop()


def oidc_settings(settings: Settings, issuer: str, **changed: object) -> Settings:
    """The test server's settings, with a provider."""
    oidc = {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_scopes": "openid profile groups",
        "oidc_role_claim": "groups",
        "oidc_role_admin": ("rm-admins",),
        "oidc_role_operator": ("rm-operators",),
        "oidc_role_viewer": ("rm-viewers", "rm-readers"),
        "oidc_label": "Canaille",
    }
    return dataclasses.replace(settings, **(oidc | changed)).checked()


@pytest.fixture
def issuer(provider: Provider) -> str:
    return provider.issuer


@pytest.fixture
def settings(tmp_path: Path, issuer: str) -> Settings:
    return oidc_settings(Settings(data_dir=tmp_path / "data", base_url=BASE_URL), issuer)


@pytest.fixture
def clock() -> Clock:
    """The present: the provider's tokens are of now."""
    return Clock(datetime.now(timezone.utc))


_last_way_back: list[int] = []


def _await_another_second() -> None:
    """The provider's tokens for one person are alike within one second, and its database refuses the second."""
    while _last_way_back and int(time.time()) <= _last_way_back[-1]:
        time.sleep(0.02)


@dataclass
class Person:
    """Somebody with one browser: our pages in a test client, the provider's over the network."""

    ours: Browser
    name: str

    def begin(self, target: str = "") -> str:
        """Press the button; the address at the provider that the browser is sent to."""
        page = self.ours.post("/login/oidc", {"next": target})
        assert page.status == 200, page.text()
        return str(page.find("#go-on")["href"])

    def at_provider(self, url: str) -> str:
        """Sign in there; the address with which the provider sends the browser back."""
        theirs = requests.Session()
        answer = theirs.get(url, timeout=30)
        for values in ({"login": self.name}, {"password": PASSWORD}):
            if urlsplit(answer.url).path == "/oauth/authorize":
                break
            form = BeautifulSoup(answer.text, "html.parser")
            token = form.select_one("[name=csrf_token]")
            assert token is not None, answer.text[:2000]
            answer = theirs.post(answer.url, data=values | {"csrf_token": token["value"]}, allow_redirects=False)
            while answer.is_redirect:
                target = urljoin(answer.url, answer.headers["Location"])
                if not target.startswith(re.match(r"https?://[^/]+", url)[0]):
                    return target
                answer = theirs.get(target, allow_redirects=False, timeout=30)
        raise AssertionError(f"{answer.status_code} {answer.url}: {answer.text[:2000]}")

    def come_back(self, url: str) -> Page:
        """Follow an address of ours."""
        parts = urlsplit(url)
        _await_another_second()
        page = self.ours.get(f"{parts.path}?{parts.query}")
        _last_way_back.append(int(time.time()))
        return page

    def sign_in(self, target: str = "") -> Page:
        """The whole way; the answer to the way back."""
        return self.come_back(self.at_provider(self.begin(target)))

    def who(self) -> str | None:
        """Whose session this browser has, None when signed out."""
        cookie = self.ours.client.get_cookie("rm_session")
        user = sessions.find_user(cookie.value, datetime.now(timezone.utc)) if cookie else None
        return user.username if user else None


@pytest.fixture
def person(app) -> Callable[[str], Person]:
    """Makes somebody with a browser of their own."""
    return lambda name: Person(Browser(app.test_client()), name)


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
