"""The socket under each agent's connection: told to the kernel as it must be, and cut when it is over."""

import socket
import threading

import pytest

from rm.agent_link.steady_socket import SteadySocket, SteadySocketMiddleware
from tests.agent_link.conftest import WAIT


@pytest.fixture
def pair():
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=WAIT)
        far, _ = listener.accept()
    yield near, far
    near.close()
    far.close()


def wrapped(sock, **environ):
    """What the application finds in the place of gunicorn's socket."""
    seen = {}
    application = SteadySocketMiddleware(lambda environ, start_response: seen.update(environ) or [])
    application({"gunicorn.socket": sock, "HTTP_UPGRADE": "websocket"} | environ, None)
    return seen


def test_a_peer_that_vanished_without_a_word_is_given_up_after_twenty_seconds(pair):
    near, _ = pair

    wrapped(near)

    assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000


def test_compression_is_taken_out_of_the_handshake(pair):
    seen = wrapped(pair[0], HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate")

    assert "HTTP_SEC_WEBSOCKET_EXTENSIONS" not in seen
    assert isinstance(seen["gunicorn.socket"], SteadySocket)


def test_what_is_no_websocket_is_left_as_it_is(pair):
    seen = wrapped(pair[0], HTTP_UPGRADE="")

    assert seen["gunicorn.socket"] is pair[0]


def test_cutting_the_connection_wakes_who_reads(pair):
    steady = SteadySocket(pair[0])
    got = []
    reader = threading.Thread(target=lambda: got.append(steady.recv(100)), daemon=True)
    reader.start()

    steady.abort()
    reader.join(WAIT)

    assert got == [b""]
