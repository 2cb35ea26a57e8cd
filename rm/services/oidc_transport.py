"""The requests session in which Authlib speaks with the provider: each call guarded, bounded and never redirected."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from rm.notifiers import outgoing
from rm.services.oidc_refusals import ProviderAway

MOST_BYTES = 256 * 1024
SECONDS = 15.0
"""For all calls of one sign-in together."""

_SENT = ("accept", "authorization", "content-type")


class GuardedAdapter(BaseAdapter):
    """Sends through the guard of outgoing calls; until its time is over."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__()
        self._ca_file = ca_file
        self._until = time.monotonic() + SECONDS

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, verify: Any = True,
        cert: Any = None, proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:  # fmt: skip
        """The whole answer; raises ProviderAway for none, and for one that leads elsewhere."""
        body = request.body.encode() if isinstance(request.body, str) else request.body
        url = request.url or ""
        headers = {name: value for name, value in request.headers.items() if name.lower() in _SENT}
        left = self._until - time.monotonic()
        if left <= 0:
            raise ProviderAway(f"{url.partition('?')[0]}: there was no time left")
        try:
            answer = outgoing.call(
                request.method or "GET", url, headers=headers, body=body, seconds=left, most_bytes=MOST_BYTES,
                ca_file=self._ca_file,
            )  # fmt: skip
        except outgoing.CallFailed as error:
            raise ProviderAway(f"{url.partition('?')[0]}: {error.message}") from None
        if 300 <= answer.status < 400:
            raise ProviderAway(f"{url.partition('?')[0]}: a redirect, which is not followed")
        if answer.status >= 500 or answer.status == 429:
            raise ProviderAway(f"{url.partition('?')[0]}: status {answer.status}")
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.url = url
        response.request = request
        response.encoding = "utf-8"
        response._content = answer.body
        return response

    def close(self) -> None:
        """Nothing stays open between calls."""


def guard(session: requests.Session, ca_file: Path | None) -> None:
    """Let a session speak through the guard only: no proxy, no .netrc, no cookie kept beyond it."""
    session.trust_env = False
    session.max_redirects = 0
    adapter = GuardedAdapter(ca_file)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
