"""A person at the browser, and their script: forms, cookies and the JSON API."""

from pathlib import Path
from typing import Any

import requests

from demo.waiting import DemoFailed, check

Json = dict[str, Any]


class Person:
    """Signs in with the forms and then uses the API with the same session."""

    def __init__(self, base_url: str, *, ca: Path | None = None) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        self._session.trust_env = False
        if ca is not None:
            self._session.verify = str(ca)
        self._session.headers["Sec-Fetch-Site"] = "same-origin"

    def set_up(self, *, token: str, username: str, password: str) -> None:
        """Make the first admin through the one-time link."""
        page = self._session.get(f"{self.base_url}/setup", params={"token": token}, timeout=30)
        check(page.ok and "token" not in page.url, f"the setup link answered {page.status_code} at {page.url}")
        self._submit("/setup", username=username, password=password)

    def sign_in(self, *, username: str, password: str) -> None:
        self._session.cookies.clear()
        self._submit("/login", username=username, password=password)

    def page(self, path: str) -> str:
        """The HTML of a page; raises DemoFailed unless it is there."""
        answer = self._session.get(f"{self.base_url}{path}", timeout=30)
        check(answer.ok, f"{path} answered {answer.status_code}")
        return answer.text

    def watch(self, path: str) -> requests.Response:
        """An open live stream, of which the first piece has arrived."""
        stream = self._session.get(f"{self.base_url}{path}", stream=True, timeout=30)
        check(stream.ok and next(stream.iter_content(1), b""), f"{path} answered {stream.status_code}")
        return stream

    def is_well(self) -> bool:
        """Whether the server says that it is well."""
        try:
            return self._session.get(f"{self.base_url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def ask(self, method: str, path: str, body: Json | None = None, *, query: dict[str, str] | None = None) -> Json:
        """What the API answers; raises DemoFailed with its own words when it refuses."""
        answer = self._session.request(method, f"{self.base_url}/api/v1{path}", json=body, params=query, timeout=60)
        if not answer.ok:
            raise DemoFailed(f"{method} /api/v1{path} answered {answer.status_code}: {answer.text[:400]}")
        found: Json = answer.json()
        return found

    def let_use(self, host_id: str, repository_id: str) -> None:
        """Let one more host use a repository, with the form of the repository's page."""
        self._submit(f"/repositories/{repository_id}/hosts", host_id=host_id)

    def rename(self, host_id: str, name: str) -> None:
        """Give a host another name, with the form of its settings page."""
        self._submit(f"/hosts/{host_id}/settings", name=name, tags="", mode="always_on")

    def _submit(self, path: str, **fields: str) -> None:
        answer = self._session.post(f"{self.base_url}{path}", data=fields, allow_redirects=False, timeout=30)
        check(answer.status_code in (302, 303), f"the form {path} answered {answer.status_code}: {answer.text[:200]}")
