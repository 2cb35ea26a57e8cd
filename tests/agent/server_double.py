"""A small real server for agents: HTTP enrolment and a WebSocket that a test can read and write."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed
from werkzeug.serving import make_server

from agent import clock
from rm.shared import ids, protocol
from rm.shared.protocol import Ack, Message, Welcome

WAIT_SECONDS = 40.0


class Connection:
    """One agent's open WebSocket."""

    def __init__(self, socket_: Any, token: str) -> None:
        self.socket = socket_
        self.token = token
        self.closed = threading.Event()

    def send(self, payload: Any) -> None:
        self.socket.send(protocol.encode(payload))

    def send_text(self, text: str | bytes) -> None:
        self.socket.send(text)

    def close(self, code: int) -> None:
        self.socket.close(code)

    def cut(self) -> None:
        """Break the TCP connection without a word."""
        self.socket.sock.shutdown(socket.SHUT_RDWR)


class ServerDouble:
    """Speaks the protocol, acknowledges what it is told to, and remembers everything it got."""

    def __init__(self, *, context: ssl.SSLContext | None = None) -> None:
        self.credential = "cred-" + ids.new_ulid()
        self.enrol_answer: tuple[int, Any] = (201, None)
        self.enrolments: list[dict[str, Any]] = []
        self.received: list[Message] = []
        self.headers: list[dict[str, str]] = []
        self.connections: list[Connection] = []
        self.heartbeat_seconds = 30
        self.says_welcome = True
        self.acks: Callable[[Message], bool] = lambda message: True
        self.refuses = False
        self.fence: Callable[[Message], Any] = lambda message: Ack(id=message.id)
        self.welcomes: Callable[[], Welcome] = lambda: Welcome(
            server_time=clock.now(), heartbeat_seconds=self.heartbeat_seconds, host_id="host-1"
        )
        self._changed = threading.Condition()
        self._app = Flask("double")
        self._routes(self._app)
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True, ssl_context=context)
        self.port = self._server.port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _routes(self, app: Flask) -> None:
        sock = Sock(self._app)

        @self._app.get("/healthz")
        def healthz() -> Any:
            return jsonify(status="ok")

        @self._app.post("/agent/enroll")
        def enroll() -> Any:
            self.enrolments.append(request.get_json())
            status, body = self.enrol_answer
            found = body or {
                "host_id": "host-1",
                "credential": self.credential,
                "trust": {"root_keys": [], "keyset_version": 0},
                "heartbeat_seconds": 30,
            }
            return (found if isinstance(found, str) else jsonify(found)), status, {"Retry-After": "17"}

        @self._app.before_request
        def refuse() -> Any:
            if request.path == "/ws/agent" and (
                self.refuses or request.headers.get("Authorization") != f"Bearer {self.credential}"
            ):
                body = {"error": {"code": "credential_refused", "message": "no", "help": ""}}
                return jsonify(body), 401
            return None

        @sock.route("/ws/agent")
        def agent(ws: Any) -> None:
            self._serve(ws)

    def _serve(self, ws: Any) -> None:
        connection = Connection(ws, request.headers["Authorization"])
        with self._changed:
            self.connections.append(connection)
            self.headers.append(dict(request.headers))
            self._changed.notify_all()
        try:
            while True:
                message = protocol.decode(ws.receive(), protocol.FROM_AGENT)
                if message.type == "hello" and self.says_welcome:
                    connection.send(self.welcomes())
                with self._changed:
                    self.received.append(message)
                    self._changed.notify_all()
                answered = message.type in protocol.REPEATED or message.type == "heartbeat"
                if answered and self.acks(message):
                    connection.send(Ack(id=message.id))
                if message.type == "update.progress" and message.payload.phase == "swapping":
                    answer = self.fence(message)
                    if answer is not None:
                        connection.send(answer)
        except (ConnectionClosed, OSError):
            connection.closed.set()

    def wait(self, condition: Callable[["ServerDouble"], Any], seconds: float = WAIT_SECONDS) -> Any:
        """What the condition gives as soon as it is true; fails the test when it never is."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                found = condition(self)
                if found:
                    return found
                left = until - time.monotonic()
                if left <= 0:
                    seen = [m.type for m in self.received]
                    raise AssertionError(f"waited {seconds} s in vain; received {seen[-30:]}")
                self._changed.wait(min(left, 0.5))

    def all(self, kind: str, **fields: Any) -> list[Message]:
        return [
            m
            for m in list(self.received)
            if m.type == kind and all(getattr(m.payload, name) == value for name, value in fields.items())
        ]

    def wait_for(self, kind: str, seconds: float = WAIT_SECONDS, **fields: Any) -> Message:
        """The first message of that kind with those fields."""
        found: list[Message] = self.wait(lambda s: s.all(kind, **fields), seconds)
        return found[0]

    def connected(self, number: int = 1) -> Connection:
        """The numbered connection, once it has said hello and was welcomed."""
        self.wait(lambda s: len(s.all("hello")) >= number and len(s.connections) >= number)
        return self.connections[number - 1]

    def log(self, job_id: str) -> list[str]:
        """The texts of a job's log, in order, each line once."""
        lines = {line.n: line.text for m in self.all("job.log", job_id=job_id) for line in m.payload.lines}
        return [lines[n] for n in sorted(lines)]

    def close(self) -> None:
        for connection in self.connections:
            try:
                connection.cut()
            except OSError:
                continue
        self._server.shutdown()
        self._server.server_close()


class ConnectProxy:
    """An HTTP proxy that understands CONNECT and plain requests, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(4096)
            if not more:
                return
            head += more
        self.requests.append(head)
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
        else:
            host, _, port = target.split("/")[2].partition(":")
        upstream = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream.sendall(head)
        threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
        _pump(upstream, client)

    def close(self) -> None:
        self._socket.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
