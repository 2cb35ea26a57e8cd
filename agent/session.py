"""One connection to the server: hello, welcome, then orders in and reports out until it ends.

One thread does all of it: TLS sockets must not be read and written by two threads at once.
"""

import logging
import select
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import websocket

from agent.outbox import Outbox
from agent.wake import Bell
from agent.watchdog import Watchdog
from rm.shared import ids, protocol
from rm.shared.protocol import Ack, Error, Heartbeat, Hello, Message, ProtocolError, Welcome

log = logging.getLogger("agent.session")

WELCOME_SECONDS = 10.0
ANSWER_SECONDS = 30.0
SEND_SECONDS = 20.0
RECEIVE_SECONDS = 0.25
WINDOW_REPORTS = 200
WINDOW_BYTES = 2 * 1024 * 1024


class SessionEnded(Exception):
    """The connection is over; `code` is a close code, 0 when it just broke, `error_code` one of the protocol's."""

    def __init__(self, text: str, *, code: int = 0, error_code: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.error_code = error_code


class CredentialRenewed(SessionEnded):
    """The agent itself ends the connection, to come back at once with its new credential."""


class Owner(Protocol):
    """What a session asks of the agent that it serves."""

    def hello(self) -> Hello: ...
    def heartbeat(self) -> Heartbeat: ...
    def welcomed(self, welcome: Welcome) -> None: ...
    def heard(self) -> None: ...
    def handle(self, message: Message) -> None: ...
    def tick(self) -> None: ...
    def look(self) -> float | None: ...


@dataclass
class Question:
    """A report whose answer somebody waits for; it is sent once on each connection until it has one.

    `sent_at` is the moment on this machine's monotonic clock when it was last sent.
    """

    id: str
    frame: str
    answered: Callable[[Ack | Error], None]
    sent_at: float | None = None
    answer: Ack | Error | None = None


@dataclass
class Outgoing:
    """What is sent when connected and otherwise forgotten: answers, the newest progress of each job, questions."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[Any] = []
        self._progress: dict[str, Any] = {}
        self._questions: dict[str, Question] = {}

    def answer(self, payload: Any) -> None:
        with self._lock:
            self._answers = [*self._answers[-99:], payload]

    def progress(self, payload: Any, *, key: str = "") -> None:
        with self._lock:
            self._progress[key or payload.job_id] = payload

    def ask(self, payload: Any, *, answered: Callable[[Ack | Error], None]) -> Question:
        """Ask the server, now or at the next connection, until the question is withdrawn.

        `answered` is called by the thread of the connection, before it takes in anything else.
        """
        message_id = ids.new_ulid()
        question = Question(message_id, protocol.encode(payload, message_id), answered)
        with self._lock:
            self._questions[question.id] = question
        return question

    def withdraw(self, question: Question) -> None:
        """Nobody waits any more; an answer that still comes means nothing."""
        with self._lock:
            self._questions.pop(question.id, None)

    def questions(self) -> list[Question]:
        """All that still wait for their answer."""
        with self._lock:
            return [question for question in self._questions.values() if question.answer is None]

    def was_answered(self, answer: Ack | Error) -> None:
        with self._lock:
            question = self._questions.get(answer.id)
            if question is None or question.answer is not None:
                return
            question.answer = answer
        question.answered(answer)

    def take(self) -> list[Any]:
        """All that waits, which is then no longer kept."""
        with self._lock:
            found = [*self._progress.values(), *self._answers]
            self._answers, self._progress = [], {}
            return found


class Session:
    """Drives one open WebSocket; `run` returns only when the agent stops."""

    def __init__(
        self,
        socket: "websocket.WebSocket",
        *,
        owner: Owner,
        outbox: Outbox,
        outgoing: Outgoing,
        bell: Bell,
        is_stopping: Callable[[], bool],
        answer_seconds: float = ANSWER_SECONDS,
        welcome_seconds: float = WELCOME_SECONDS,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._watchdog = watchdog or Watchdog({})
        self._socket = socket
        self._owner = owner
        self._outbox = outbox
        self._outgoing = outgoing
        self._bell = bell
        self._is_stopping = is_stopping
        self._answer_seconds = answer_seconds
        self._welcome_seconds = welcome_seconds
        self._heartbeat_seconds = float(protocol.HEARTBEAT_SECONDS)
        self._in_flight: dict[str, tuple[float, int]] = {}
        self._cursor = 0
        self._cuts = outbox.cuts
        self._next_heartbeat = 0.0
        self._beats: dict[str, float] = {}
        self._asked: set[str] = set()
        self._look_again: float | None = None
        self._answered_at = 0.0
        self.welcomed_at: float | None = None

    def run(self) -> None:
        """Speak until the agent stops; raises SessionEnded when the connection ends before."""
        try:
            self._greet()
            # First the bell, then what it may have rung for: a stop that comes in between would be lost.
            self._bell.clear()
            while not self._is_stopping():
                self._look_again = self._owner.look()
                self._send_what_is_due()
                self._listen(self._seconds_to_wait())
                self._bell.clear()
            self._send_what_is_due()
        except websocket.WebSocketConnectionClosedException as error:
            raise SessionEnded("the connection was closed without a word") from error
        except websocket.WebSocketTimeoutException as error:
            raise SessionEnded("the server takes nothing more") from error
        except (websocket.WebSocketException, OSError) as error:
            raise SessionEnded(f"the connection broke: {error or type(error).__name__}") from error

    def close(self) -> None:
        """End the connection in good order if it still stands."""
        try:
            self._socket.settimeout(1)
            self._socket.send_close(1000)
        except (websocket.WebSocketException, OSError):
            log.debug("the connection was gone already")
        self._socket.shutdown()

    # ---- hello --------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._send(protocol.encode(self._owner.hello()))
        until = time.monotonic() + self._welcome_seconds
        while self.welcomed_at is None:
            left = until - time.monotonic()
            self._bell.clear()
            if left <= 0 or self._is_stopping():
                raise SessionEnded("the server did not say welcome")
            self._listen(left)

    def _welcome(self, welcome: Welcome) -> None:
        now = time.monotonic()
        if self.welcomed_at is None:
            self.welcomed_at = self._answered_at = now
            self._next_heartbeat = now
        self._heartbeat_seconds = float(welcome.heartbeat_seconds)
        self._owner.welcomed(welcome)

    # ---- out ----------------------------------------------------------------------------------------

    def _send_what_is_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._check_life(now)
            self._owner.tick()
            self._next_heartbeat = now + self._heartbeat_seconds
            frame = protocol.encode(self._owner.heartbeat())
            self._beats[_id_of(frame)] = now
            self._send(frame)
        for payload in self._outgoing.take():
            try:
                self._send(protocol.encode(payload))
            except ProtocolError as error:
                log.error("A %s was not sent: %s", type(payload).__name__, error)
        for question in self._outgoing.questions():
            if question.id not in self._asked:
                self._asked.add(question.id)
                self._send(question.frame)
                question.sent_at = time.monotonic()
        self._send_reports(now)

    def _check_life(self, now: float) -> None:
        if self._beats and now - self._answered_at > 2 * self._heartbeat_seconds:
            raise SessionEnded("the server no longer answers heartbeats")

    def _send_reports(self, now: float) -> None:
        overdue = [key for key, (sent_at, _) in self._in_flight.items() if now - sent_at >= self._answer_seconds]
        if overdue or self._cuts != self._outbox.cuts:
            for key in overdue:
                del self._in_flight[key]
            self._cursor, self._cuts = 0, self._outbox.cuts
        room = WINDOW_REPORTS - len(self._in_flight)
        weight = sum(size for _, size in self._in_flight.values())
        while room > 0 and weight < WINDOW_BYTES:
            found = self._outbox.pending(after=self._cursor, limit=20)
            if not found:
                return
            for report in found:
                if room <= 0 or weight >= WINDOW_BYTES:
                    return
                self._cursor = report.seq
                if report.id not in self._in_flight:
                    self._send(report.frame)
                    self._in_flight[report.id] = (time.monotonic(), report.size)
                    room -= 1
                    weight += report.size

    def _send(self, frame: str) -> None:
        self._watchdog.ping()
        self._socket.settimeout(SEND_SECONDS)
        self._socket.send(frame)

    # ---- in -----------------------------------------------------------------------------------------

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        due = [self._next_heartbeat, *(sent_at + self._answer_seconds for sent_at, _ in self._in_flight.values())]
        longest = self._watchdog.look_seconds if self._look_again is None else self._look_again
        return max(0.0, min(min(due) - now, self._watchdog.look_seconds, longest))

    def _listen(self, seconds: float) -> None:
        """Wait for the server or the bell, and take in what the server has sent by then."""
        self._watchdog.ping()
        sock: Any = self._socket.sock
        if not _has_more(sock):
            readable, _, _ = select.select([sock, self._bell.fileno()], [], [], seconds)
            if sock not in readable:
                return
        for _ in range(100):
            self._socket.settimeout(RECEIVE_SECONDS)
            try:
                opcode, data = self._socket.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                return
            self._take(opcode, data.data)
            if not _has_more(sock) and not select.select([sock], [], [], 0)[0]:
                return

    def _take(self, opcode: int, data: bytes) -> None:
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else 1005
            reason = data[2:].decode("utf-8", "replace") or protocol.CLOSE_REASONS.get(code, "no reason given")
            raise SessionEnded(f"the server closed the connection ({code}): {reason[:200]}", code=code)
        if opcode != websocket.ABNF.OPCODE_TEXT:
            return
        try:
            message = protocol.decode(data.decode("utf-8"), protocol.FROM_SERVER)
        except (ProtocolError, UnicodeDecodeError) as error:
            log.warning("The server sent a message that is not understood: %s", error)
            return
        self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        payload = message.payload
        if isinstance(payload, Welcome):
            self._welcome(payload)
        elif isinstance(payload, Error) and self.welcomed_at is None and payload.code in _FATAL:
            raise SessionEnded(f"the server refuses this agent: {payload.detail}", error_code=payload.code)
        elif isinstance(payload, Ack | Error):
            self._answered(payload)
        elif self.welcomed_at is None:
            raise SessionEnded(f"the server said {message.type} before welcome")
        else:
            self._owner.handle(message)

    def _answered(self, answer: Ack | Error) -> None:
        if isinstance(answer, Error):
            log.warning("The server did not take %s: %s %s", answer.id or "a message", answer.code, answer.detail)
        if answer.id in self._beats:
            self._answered_at = time.monotonic()
            self._beats.clear()
            self._owner.heard()
        elif answer.id:
            self._outgoing.was_answered(answer)
            self._in_flight.pop(answer.id, None)
            self._outbox.done(answer.id)


_FATAL = ("hello_invalid", "protocol_too_old")


def _has_more(sock: Any) -> bool:
    """Whether TLS has already decrypted bytes that select() cannot see."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _id_of(frame: str) -> str:
    return str(frame.partition('"id":"')[2][:26])
