"""Downloads take turns: the server works on one at a time, and looks at every other socket in between.

A release is wanted by many hosts in the same moment. Under gevent each request runs until it waits for something, so
a hundred of them would go one after the other while heartbeats stand in line behind them.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from rm.offload import give_way

# Only what is fetched: a request with a body could hold its turn for as long as it likes.
METHODS = ("GET", "HEAD")
PATHS = "/agent/"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class TurnsMiddleware:
    """Lets one request for a download in after the other; what they send, they send side by side."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_download = environ.get("REQUEST_METHOD") in METHODS and environ.get("PATH_INFO", "").startswith(PATHS)
        if not is_download:
            return self._application(environ, start_response)
        with self._turn:
            try:
                return self._application(environ, start_response)
            finally:
                give_way()
