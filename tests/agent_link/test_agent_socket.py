"""A WebSocket that is read by who waits for a frame, over a real connection and the real simple-websocket."""

import gc
import socket
import threading
import time
import weakref

import pytest
from simple_websocket import ConnectionClosed, Server
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from rm.agent_link import agent_socket as module
from rm.agent_link.agent_socket import AgentSocket, NoEvent, NoReader
from rm.agent_link.steady_socket import SteadySocket
from tests.agent_link.conftest import WAIT

LIMIT = 1000


class Peer:
    """The other end: says frames, and collects what comes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.request = self.ws.send(Request(host="server", target="/"))

    def say(self, event):
        self.sock.sendall(self.ws.send(event))

    def next(self, kind):
        """The next event of a kind."""
        while True:
            for event in self.ws.events():
                if isinstance(event, kind):
                    return event
            data = self.sock.recv(65536)
            assert data, f"the connection ended before a {kind.__name__} came"
            self.ws.receive_data(data)


@pytest.fixture
def ends():
    """The agent's end and the server's, shaken hands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), timeout=WAIT)
        near, _ = listener.accept()
    peer = Peer(far)
    headers = dict(line.split(": ", 1) for line in peer.request.decode().split("\r\n")[1:] if line)
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ["gunicorn.socket"] = SteadySocket(near)
    server = AgentSocket(Server(environ, thread_class=NoReader, event_class=NoEvent, max_message_size=LIMIT))
    peer.ws.receive_data(far.recv(65536))
    list(peer.ws.events())
    yield peer, server
    near.close()
    far.close()


def test_no_thread_is_started_for_a_connection(ends):
    assert not [thread for thread in threading.enumerate() if "simple_websocket" in thread.name]


def test_messages_arrive_in_order_and_answers_go_back(ends):
    peer, server = ends
    for text in ("one", "two"):
        peer.say(TextMessage(text))
    peer.say(BytesMessage(b"three"))

    assert [server.receive(WAIT) for _ in range(3)] == ["one", "two", b"three"]
    server.send("four")
    assert peer.next(TextMessage).data == "four"


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 0), (module.TURN_SECONDS + 0.001, 1)])
def test_others_have_a_turn_between_messages_that_arrived_together_when_one_took_long(
    ends, monkeypatch, seconds, turns
):
    peer, server = ends
    peer.sock.sendall(peer.ws.send(TextMessage("one")) + peer.ws.send(TextMessage("two")))
    now, given = time.monotonic(), []
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module.time, "sleep", given.append)

    assert server.receive() == "one"
    now += seconds
    assert server.receive() == "two"

    assert given == [0] * turns


def test_a_message_in_pieces_is_put_together(ends):
    peer, server = ends
    peer.say(TextMessage("half ", message_finished=False))
    peer.say(TextMessage("and half"))

    assert server.receive(WAIT) == "half and half"


@pytest.mark.parametrize("cut", [1, 2, 4, 7, 8, 12])
def test_a_frame_cut_anywhere_is_put_together_and_the_next_is_taken_too(ends, cut):
    peer, server = ends
    frame = peer.ws.send(TextMessage("x" * 200))
    peer.sock.sendall(frame[:cut])

    assert server.receive(0.05) is None
    peer.sock.sendall(frame[cut:])
    assert server.receive(WAIT) == "x" * 200
    peer.say(TextMessage("after"))
    assert server.receive(WAIT) == "after"


def test_a_whole_text_in_the_middle_of_another_message_ends_the_connection(ends):
    peer, server = ends
    peer.say(TextMessage("half ", message_finished=False))
    assert server.receive(0.05) is None

    peer.sock.sendall(Connection(ConnectionType.CLIENT).send(TextMessage("an intruder")))

    with pytest.raises(ConnectionClosed):
        server.receive(WAIT)
    assert peer.next(CloseConnection).code == 1002


def test_nothing_can_be_sent_once_the_peer_has_closed(ends):
    peer, server = ends
    peer.say(CloseConnection(1000))
    with pytest.raises(ConnectionClosed):
        server.receive(WAIT)

    with pytest.raises(ConnectionClosed):
        server.send("too late")


def test_a_ping_is_answered_by_who_waits_for_a_message(ends):
    peer, server = ends
    peer.say(Ping(b"there?"))
    peer.say(TextMessage("after"))

    assert server.receive(WAIT) == "after"
    assert peer.next(Pong).payload == b"there?"


def test_nothing_whole_in_time_is_none_even_from_a_peer_that_drips(ends):
    peer, server = ends
    peer.say(TextMessage("never", message_finished=False))

    assert server.receive(0.05) is None
    peer.say(TextMessage(" mind"))
    assert server.receive(WAIT) == "never mind"


def test_a_message_that_is_too_large_ends_the_connection_with_1009(ends):
    peer, server = ends
    peer.say(TextMessage("before"))
    peer.say(TextMessage("x" * (LIMIT + 1)))

    assert server.receive(WAIT) == "before"
    with pytest.raises(ConnectionClosed):
        server.receive(WAIT)
    assert peer.next(CloseConnection).code == 1009


@pytest.mark.parametrize("way", ["a close frame", "a cut", "nonsense"])
def test_the_end_of_the_peer_ends_the_wait(ends, way):
    peer, server = ends
    if way == "a close frame":
        peer.say(CloseConnection(1000))
    elif way == "a cut":
        peer.sock.close()
    else:
        peer.sock.sendall(b"\xff\xff\xff\xff")

    with pytest.raises(ConnectionClosed):
        server.receive(WAIT)


def test_waking_ends_the_wait_of_who_receives(ends):
    _, server = ends
    ended = threading.Event()

    def wait():
        with pytest.raises(ConnectionClosed):
            server.receive(WAIT)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    server.wake()

    assert ended.wait(WAIT)


def test_nothing_of_a_connection_that_was_cut_waits_for_a_collection(ends):
    peer, server = ends
    parser = weakref.ref(server._ws.ws.connection._proto)
    peer.sock.sendall(peer.ws.send(TextMessage("never whole", message_finished=False)))
    assert server.receive(0.05) is None
    peer.sock.close()
    with pytest.raises(ConnectionClosed):
        server.receive(WAIT)
    gc.disable()
    try:
        server.release()
        server._ws.ws = None
        assert parser() is None
    finally:
        gc.enable()
