"""Real servers on loopback that take notifications: HTTP that answers as it is told, and SMTP."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    """`answer` is called with each request and gives status, headers and body, or None when it wrote by itself."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request, Any], tuple[int, dict[str, str], bytes] | None] = lambda request, handler: (
        200,
        {},
        b"{}",
    )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> None:
        self.answer = lambda request, handler: (status, headers or {}, body)


@contextmanager
def http_server() -> Iterator[HttpServer]:
    """An HTTP server on a free port, which keeps what it is sent."""
    found = HttpServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            found.requests.append(request)
            answered = found.answer(request, self)
            if answered is None:
                return
            status, headers, content = answered
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # callers that hang up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def drips(seconds: float = 60) -> Callable[[Request, Any], None]:
    """Answers a byte at a time, for so long, or until the caller hangs up."""

    def answer(request: Request, handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    return answer


@dataclass
class Mailbox:
    port: int = 0
    messages: list[Message] = field(default_factory=list)
    refuses_with: str = ""


@contextmanager
def smtp_server() -> Iterator[Mailbox]:
    """An SMTP server on a free port, which keeps what it is sent."""
    box = Mailbox()

    class Keep:
        async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
            if box.refuses_with:
                return box.refuses_with
            box.messages.append(message_from_bytes(envelope.content))
            return "250 kept"

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        box.port = sock.getsockname()[1]
    controller = Controller(Keep(), hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
