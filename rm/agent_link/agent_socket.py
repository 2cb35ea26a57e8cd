"""The server's end of one agent's WebSocket, read by whoever waits for a frame: no thread is kept to read it.

simple-websocket starts a reader of its own for each connection. Ten thousand of those cost more memory than all else.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from simple_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from rm.agent_link.text_frames import frame_of, texts_in

RECEIVE_BYTES = 64 * 1024
# Hundreds of messages may arrive at once: after so long others have a turn before the next of them is taken.
TURN_SECONDS = 0.005


class NoReader:
    """Stands in for the thread that simple-websocket would start."""

    name = ""

    def __init__(self, target: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass


class NoEvent:
    """Stands in for the event that wakes who receives: here that is the one who reads."""

    def set(self) -> None:
        pass


class _Shaken:
    """All that wsproto asks of a handshake once it is over."""

    def events(self) -> tuple[()]:
        return ()


_SHAKEN = _Shaken()


class AgentSocket:
    """What a session needs of a simple_websocket.Server that was made with NoReader and NoEvent."""

    def __init__(self, ws: Any) -> None:
        self._ws = ws
        self.sock = ws.sock
        # Done with, and the HTTP parser in it would stay in memory for as long as the connection lasts.
        ws.ws.handshake = _SHAKEN
        self._is_between_messages = True
        self._begun: bytearray | None = None
        self._turn_ends = 0.0

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message, or None when none is whole in time; raises ConnectionClosed at the end.

        Without a timeout it waits until somebody ends the connection: a timer for each of ten thousand that wait
        is memory and work.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._ws.input_buffer and time.monotonic() > self._turn_ends:
            self._give_way()
        while not self._ws.input_buffer:
            if not self._ws.connected:
                raise ConnectionClosed(self._ws.close_reason, self._ws.close_message)
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                return None
            try:
                self._read(seconds)
                self._turn_ends = time.monotonic() + TURN_SECONDS
            except TimeoutError:
                return None
            except (OSError, LocalProtocolError):
                self._ws.connected = False
        message: str | bytes = self._ws.input_buffer.pop(0)
        return message

    def _give_way(self) -> None:
        time.sleep(0)
        self._turn_ends = time.monotonic() + TURN_SECONDS

    def _read(self, seconds: float | None) -> None:
        self.sock.settimeout(seconds)
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise OSError("the peer has gone")
        if self._is_between_messages:
            data = self._after_texts(data)
            if not data:
                return
        self._ws.ws.receive_data(data)
        # The parts of simple-websocket's own reader; pinned with its version, and tested with a real connection.
        if not self._ws._handle_events():
            self._ws.connected = False
        self._is_between_messages = self._nothing_begun()

    def _after_texts(self, data: bytes) -> bytes:
        """Take the texts that need no wsproto; returns what does."""
        begun = self._begun
        if begun is not None:
            begun += data
        texts, rest_at, waits = texts_in(data if begun is None else begun, limit=self._ws.max_message_size)
        self._ws.input_buffer += texts
        if not waits:
            self._begun = None
            return data[rest_at:] if begun is None else bytes(begun[rest_at:])
        if begun is None:
            self._begun = bytearray(data[rest_at:])
        else:
            # in place: a peer that drips a long frame would have it copied for each byte
            del begun[:rest_at]
        return b""

    def _nothing_begun(self) -> bool:
        """Whether wsproto holds no part of a frame or of a message, so that the next byte begins one."""
        parser = self._ws.ws.connection._proto
        frames = parser._frame_decoder
        return frames.header is None and not len(frames.buffer) and parser._message_decoder.opcode is None

    def send(self, frame: str) -> None:
        if not self._ws.connected:
            raise ConnectionClosed(self._ws.close_reason, self._ws.close_message)
        self.sock.send(frame_of(frame))

    def close(self, code: int, reason: str) -> None:
        self._ws.close(code, reason)

    def release(self) -> None:
        """Nothing is read any more: end wsproto's parser, which holds itself.

        What has lived for hours before it becomes garbage is found by no collection for a long time.
        """
        self._ws.ws.connection._proto._parse_more.close()

    def wake(self) -> None:
        """End the wait of who receives: nothing more is read."""
        self._ws.connected = False
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)
