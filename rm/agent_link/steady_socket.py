"""A socket that writes whole frames one at a time.

simple-websocket calls send(), which under gevent may write half a frame, and answers pings where it reads,
while a lent thread may be writing: so one could come between the halves of another.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

USER_TIMEOUT_MS = 20_000
# A peer that does not read is noticed after so much, and costs no more of the kernel's memory.
SEND_BUFFER_BYTES = 64 * 1024
AT_ONCE_SECONDS = 0.001

StartResponse = Callable[..., Any]


class SteadySocket:
    """Wraps a connected socket; only what simple-websocket uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._send_lock = threading.Lock()
        self.sending_since: float | None = None
        self._found_data = False

    def send(self, data: bytes) -> int:
        with self._send_lock:
            self.sending_since = time.monotonic()
            try:
                sent = self._sock.send(data)
                if sent < len(data):
                    self._sock.sendall(data[sent:])
            finally:
                self.sending_since = None
        return len(data)

    def recv(self, size: int) -> bytes:
        # Under gevent a recv that finds data returns at once, and one flooding peer would keep every other greenlet
        # from running: who found some the last time gives way first.
        if self._found_data:
            time.sleep(0)
        before = time.monotonic()
        data = self._sock.recv(size)
        self._found_data = time.monotonic() - before < AT_ONCE_SECONDS
        return data

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def fileno(self) -> int:
        return self._sock.fileno()

    def abort(self) -> None:
        """End the connection now; whoever waits in send or recv returns."""
        # gunicorn would otherwise drain a silent peer for 2 s on its accept thread
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        self._sock.close()


class SteadySocketMiddleware:
    """WSGI middleware: gives WebSocket requests a SteadySocket, and takes away extensions that cost memory."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        sock = environ.get("gunicorn.socket")
        if sock is not None and environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            # simple-websocket always accepts permessage-deflate, which costs 91 KiB a connection
            environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
            if hasattr(socket, "TCP_USER_TIMEOUT") and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            environ["gunicorn.socket"] = SteadySocket(sock)
        return self._app(environ, start_response)
