"""A fake socket under a real session: frames in by hand, frames out in a list."""

import json
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from simple_websocket import ConnectionClosed

from rm.agent_link.endpoint import link_of
from rm.agent_link.registry import AgentRegistry
from rm.agent_link.session import AgentSession
from rm.shared import protocol
from rm.shared.ids import new_ulid
from rm.store.database import db
from tests import cast
from tests.updating import release

__all__ = ["release"]

WAIT = 30


@pytest.fixture
def group(bus, vault, web1):
    """web1's source group, with its repository."""
    return cast.give_repository(bus, vault, web1)


def wait_until(is_true, seconds=WAIT):
    """Gives way to other threads until the condition holds; fails when it never does."""
    tick = threading.Event()
    for _ in range(seconds * 100):
        if is_true():
            return
        tick.wait(0.01)
    raise AssertionError("it never became true")


class FakeSocket:
    """What a session needs of an AgentSocket."""

    def __init__(self) -> None:
        self.sock = SimpleNamespace(abort=self._drop, sending_since=None)
        self.event = threading.Event()
        self.input_buffer: deque[Any] = deque()
        self.connected = True
        self.sent: list[protocol.Message] = []
        self.closed_with: tuple[int, str] | None = None
        self._changed = threading.Condition()

    # the session's side

    def receive(self, timeout=None):
        while True:
            if self.input_buffer:
                return self.input_buffer.popleft()
            if not self.connected:
                raise ConnectionClosed(1000, "")
            if not self.event.wait(timeout):
                return None
            self.event.clear()

    def send(self, frame):
        if not self.connected:
            raise ConnectionClosed(1000, "")
        # Under gevent a send gives way to others: a transaction held here would freeze every writer.
        assert not db.in_transaction()
        with self._changed:
            self.sent.append(protocol.decode(frame, protocol.FROM_SERVER))
            self._changed.notify_all()

    def close(self, code=None, reason=None):
        with self._changed:
            self.closed_with = (code, reason)
            self.connected = False
            self._changed.notify_all()
        self.event.set()

    def release(self):
        pass

    def wake(self):
        self._drop()

    def _drop(self):
        self.connected = False
        self.event.set()

    # the test's side

    def say(self, payload, message_id=None):
        message_id = message_id or new_ulid()
        self.say_raw(protocol.encode(payload, message_id))
        return message_id

    def say_raw(self, frame):
        self.input_buffer.append(frame)
        self.event.set()

    def hang_up(self):
        self._drop()

    def wait_for(self, type_, **fields):
        """The first message of a type with these fields; fails when it does not come."""

        def found():
            for message in self.sent:
                if message.type == type_ and all(getattr(message.payload, k) == v for k, v in fields.items()):
                    return message
            return None

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, WAIT), f"no {type_} {fields} among {self.sent}"
            return found().payload

    def wait_closed(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self.closed_with is not None, WAIT), "was not closed"
            return self.closed_with[0]


@pytest.fixture
def registry(app) -> AgentRegistry:
    return app.extensions["rm_agents"]


@pytest.fixture
def writer(parts):
    parts.writer.start()
    yield parts.writer
    parts.writer.stop()


@pytest.fixture
def connect(parts, registry, writer):
    """connect(host) → the fake socket of a session that runs; all are ended with the test."""
    running = []

    def connect(host, *, hello=True, **fields):
        ws = FakeSocket()
        session = AgentSession(
            ws,
            link=link_of(parts),
            registry=registry,
            host_id=host.id,
            credential_hash=host.credential_hash,
            address="192.0.2.10",
        )
        thread = threading.Thread(target=session.serve, daemon=True)
        thread.start()
        running.append((ws, thread))
        if hello:
            greeting = {"protocol_version": 1, "agent_version": "0.1.0", "hostname": host.name} | fields
            ws.say_raw(json.dumps({"type": "hello", "id": new_ulid(), "payload": greeting}))
            ws.wait_for("welcome")
            # the welcome leaves before the session has its place
            wait_until(lambda: registry._sessions.get(host.id) is session or not ws.connected)
        ws.thread = thread
        return ws

    yield connect
    for ws, thread in running:
        ws.hang_up()
        thread.join(WAIT)
        assert not thread.is_alive()
