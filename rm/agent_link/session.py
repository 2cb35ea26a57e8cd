"""One agent's connection: hello first, then reports in and orders out, until it ends."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from simple_websocket import ConnectionClosed

from rm.agent_link.desired import DesiredState
from rm.agent_link.outgoing import Outgoing
from rm.errors import NotFound, RmError
from rm.events import EventBus
from rm.services import credentials, jobs, presence, updates
from rm.shared import instants, protocol
from rm.shared.protocol import Ack, BrowseResult, CommandBrowse, CommandCancel, CommandRun, Error, Hello, Welcome
from rm.store import database
from rm.store.vault import Vault
from rm.store.writer import Writer

log = logging.getLogger(__name__)

SILENT_SECONDS = 100
LIFE_NOTED_EVERY = timedelta(seconds=15)
SEND_SECONDS = 10


class Registry(Protocol):
    """Who is connected, as a session sees it."""

    is_stopping: bool

    def join(self, session: "AgentSession") -> bool: ...

    def leave(self, session: "AgentSession") -> bool: ...

    def answered(self, host_id: str, result: BrowseResult) -> None: ...

    def lend_thread(self, errand: Callable[[], None]) -> None: ...


@dataclass(frozen=True)
class Link:
    """What the server lends to every session."""

    bus: EventBus
    vault: Vault
    writer: Writer
    clock: Callable[[], datetime]
    handle: Callable[["AgentSession", protocol.Message], None]
    heartbeat_seconds: int = protocol.HEARTBEAT_SECONDS


class AgentSession:
    """Serves one socket until it ends. `ws` is an AgentSocket, `link` what the server lends."""

    def __init__(
        self, ws: Any, *, link: Link, registry: Registry, host_id: str, credential_hash: str, address: str
    ) -> None:
        self._ws = ws
        self.link = link
        self._registry = registry
        self.host_id = host_id
        self.credential_hash = credential_hash
        self.address = address
        self._outgoing = Outgoing()
        self._sent: set[tuple[str, str]] = set()
        self._owners: dict[str, str] = {}
        self._bad_in_a_row = 0
        self._desired = DesiredState(
            link.vault, host_id=host_id, credential_hash=credential_hash, bus=link.bus, clock=link.clock
        )
        self._last_frame = time.monotonic()
        self._refresh_waits = False
        self._news_failed = False
        self._life_noted_at: datetime | None = None
        self.connected_at: datetime | None = None
        self.rival_address: str | None = None
        self.groups_said: list[protocol.GroupState] = []
        self.zone_said = ""

    # ---- from the endpoint ----

    def serve(self) -> None:
        """Everything from hello to the end of the socket; never raises."""
        try:
            if self._greet():
                self._read()
        except ConnectionClosed:
            pass
        except Exception:
            # An exception that left here would write an HTTP answer into the WebSocket.
            log.exception("the session of host %s failed", self.host_id)
            self.close(1011, "internal error")
        finally:
            was_current = self._registry.leave(self)
            self.close(1000, "")
            self._outgoing.wait_ended(SEND_SECONDS)
            self.abort()
            self._ws.release()
            # While the server stops nobody reads who is connected, and the next start begins with nobody.
            if was_current and not self._registry.is_stopping:
                self._say_goodbye()

    # ---- for others ----

    def send(self, payload: Any, *, message_id: str | None = None) -> bool:
        """Queue one message; an agent that reads too slowly is closed with 1013."""
        try:
            frame = protocol.encode(payload, message_id)
        except protocol.ProtocolError:
            log.error("a %s for host %s is too large to send", type(payload).__name__, self.host_id)
            return False
        if self._put(frame):
            return True
        self.close(1013, "slow reader")
        return False

    def close(self, code: int, reason: str) -> None:
        """End the connection with a close code; safe to call twice and from any thread."""
        self._outgoing.close(code, reason)
        self._write_soon()

    def abort(self) -> None:
        """Cut the connection without a word."""
        sock = self._ws.sock
        if hasattr(sock, "abort"):
            sock.abort()

    def refresh(self) -> None:
        """Look soon, in the writer's thread, whether there is something new to tell this agent."""
        if self.connected_at is not None and not self._refresh_waits:
            self._refresh_waits = True
            if not self._put(self._tell_news):
                self._refresh_waits = False

    def ask_again(self, job_id: str) -> None:
        """Send the order of a silent job once more; the agent answers with what it knows."""
        self._sent.discard(("run", job_id))
        self._sent.discard(("cancel", job_id))
        self.refresh()

    def try_news_again(self) -> None:
        """Refresh, if the last time failed: the database may be well again."""
        if self._news_failed:
            self.refresh()

    def is_stuck(self, now: float) -> bool:
        """Whether the peer has not read for 10 s, or not said a word for longer than three heartbeats."""
        since = getattr(self._ws.sock, "sending_since", None)
        return (since is not None and now - since > SEND_SECONDS) or now - self._last_frame > SILENT_SECONDS

    # ---- greeting ----

    def _greet(self) -> bool:
        frame = self._ws.receive(timeout=protocol.HELLO_WITHIN_SECONDS)
        if frame is None:
            return self._refuse(4400, "no hello within 10 s")
        if not isinstance(frame, str):
            return self._refuse(1003, "text frames only")
        try:
            message = protocol.decode(frame, protocol.FROM_AGENT)
        except protocol.ProtocolError as error:
            self._answer_error(error.message_id or "", "hello_invalid", error.detail)
            return self._refuse(4400, "hello_invalid")
        if not isinstance(message.payload, Hello):
            self._answer_error(message.id, "hello_invalid", "The first frame must be hello.")
            return self._refuse(4400, "hello_invalid")
        if message.payload.protocol_version < protocol.PROTOCOL_VERSION:
            help_text = "Update the agent on the host: it speaks an older protocol than this server accepts."
            self._answer_error(message.id, "protocol_too_old", "The agent's protocol is too old.", help_text)
            return self._refuse(4426, "protocol_too_old")
        return self._accept(message.payload)

    def _accept(self, hello: Hello) -> bool:
        now = self.link.clock()
        with database.connection():
            try:
                host = presence.hello(
                    self.link.bus,
                    host_id=self.host_id,
                    credential_hash=self.credential_hash,
                    hello=hello,
                    address=self.address,
                    now=now,
                )
            except RmError:
                return self._refuse(4403, "credential_refused")
            # Before the welcome: what the host is told next must know what its hello says of an update.
            updates.said_hello(self.link.bus, host_id=self.host_id, hello=hello, now=now)
        self.connected_at = now
        self.zone_said = hello.timezone
        self._desired.said_hello(hello, host)
        if hello.running_job:
            self._sent.add(("run", hello.running_job))
        self.send(
            Welcome(
                server_time=instants.to_text(now),
                heartbeat_seconds=self.link.heartbeat_seconds,
                host_id=self.host_id,
            )
        )
        if not self._registry.join(self):
            return self._refuse(1012, "server restarts")
        # A revocation between the hello and here found no session to close.
        with database.connection():
            if not presence.is_admitted(self.credential_hash):
                return self._refuse(4403, "credential_refused")
        if self.rival_address is not None:
            self._report_rival(self.rival_address, now)
        self.refresh()
        return True

    def _refuse(self, code: int, reason: str) -> bool:
        # The error frame that was queued before says why; it must leave first.
        self._outgoing.close(code, reason, after_waiting=True)
        self._write_soon()
        return False

    # ---- reading ----

    def _read(self) -> None:
        while self._outgoing.closing is None:
            # no timeout: whoever falls silent is cut by the registry
            frame = self._ws.receive()
            self._last_frame = time.monotonic()
            if not isinstance(frame, str):
                self.close(1003, "text frames only")
                return
            self._take(frame)

    def _take(self, frame: str) -> None:
        try:
            message = protocol.decode(frame, protocol.FROM_AGENT)
        except protocol.ProtocolError as error:
            self._bad_in_a_row += 1
            self._answer_error(error.message_id or "", error.code, error.detail)
            if self._bad_in_a_row >= protocol.BAD_MESSAGES_IN_A_ROW:
                self._refuse(4400, "three bad messages in a row")
            return
        self._bad_in_a_row = 0
        self._note_life(message)
        self.link.handle(self, message)
        # Who reads writes its own short answer: a thread lent for each would cost as much as the rest of a heartbeat.
        if self._outgoing.begin():
            self._write()

    def _note_life(self, message: protocol.Message) -> None:
        """Whatever it says, the host is there: its heartbeats may wait behind what else it has to send."""
        now = self.link.clock()
        if self._life_noted_at is None or not timedelta(0) <= now - self._life_noted_at < LIFE_NOTED_EVERY:
            self._life_noted_at = now
            if message.type != "heartbeat":
                self.link.writer.seen(host_id=self.host_id, at=now)

    # ---- answers ----

    def ack(self, message_id: str) -> None:
        """For a handler, while it is at it: the report is kept; it is said once the handler is done."""
        if not self._outgoing.put(protocol.encode(Ack(id=message_id))):
            self.close(1013, "slow reader")

    def ack_later(self, message_id: str) -> None:
        """For every other thread: the report is kept now."""
        self.send(Ack(id=message_id))

    def answer_error(self, message_id: str, code: str, detail: str, help_text: str = "") -> None:
        self._answer_error(message_id, code, detail, help_text)

    def _answer_error(self, message_id: str, code: str, detail: str, help_text: str = "") -> None:
        self.send(Error(id=message_id, code=code, detail=detail[:2000], help=help_text[:2000]))

    def answered(self, result: BrowseResult) -> None:
        self._registry.answered(self.host_id, result)

    def ask(self, question: CommandBrowse) -> bool:
        """Queue a question behind the news that wait already: a fresh password must arrive before its test."""
        return self._put(lambda: self._ask_now(question))

    def _ask_now(self, question: CommandBrowse) -> None:
        self.send(question)

    def owner_of(self, job_id: str) -> str | None:
        """The host whose job this is; remembered, so that a busy log costs one look."""
        if job_id not in self._owners:
            with database.connection():
                owner = jobs.owner_of(job_id)
            if owner is None:
                # Not for ever: a run that the host fired itself is known from its first report on.
                return None
            if len(self._owners) > 1000:
                self._owners.clear()
            self._owners[job_id] = owner
        return self._owners[job_id]

    # ---- writing ----

    def _put(self, item: str | Callable[[], None]) -> bool:
        is_queued = self._outgoing.put(item)
        self._write_soon()
        return is_queued

    def _write_soon(self) -> None:
        # A thread is lent only while there is something to write: an idle connection costs one, the one that reads.
        if self._outgoing.begin():
            self._registry.lend_thread(self._write)

    def _write(self) -> None:
        try:
            while (item := self._outgoing.take()) is not None:
                if isinstance(item, str):
                    self._ws.send(item)
                elif isinstance(item, tuple):
                    code, reason = item
                    self._ws.close(code, reason)
                    break
                else:
                    item()
            else:
                return
        except (ConnectionClosed, OSError):
            pass
        except Exception:
            log.exception("writing to host %s failed", self.host_id)
        self._outgoing.close(1011, "")
        self._outgoing.end()
        self._ws.wake()

    def _tell_news(self) -> None:
        self._refresh_waits = False
        self._news_failed = False
        try:
            with database.connection():
                news = self._desired.news()
                # first: once an update is sent, no new job is
                update_orders = updates.orders_for(self.link.bus, host_id=self.host_id, now=self.link.clock())
                orders = jobs.next_orders(bus=self.link.bus, host_id=self.host_id, now=self.link.clock())
        except NotFound:
            # removed meanwhile; the revocation closes this connection
            return
        except (RmError, database.DatabaseError) as error:
            log.warning("host %s cannot be told its news just now: %s", self.host_id, error)
            self._news_failed = True
            return
        for desired in news:
            self.send(desired)
        for key, update_order in update_orders:
            self._send_once(("update", key), update_order)
        for order in orders:
            self._send_order(order)

    def _send_order(self, order: CommandRun | CommandCancel) -> None:
        self._owners[order.job_id] = self.host_id
        self._send_once(("run" if isinstance(order, CommandRun) else "cancel", order.job_id), order)

    def _send_once(self, key: tuple[str, str], order: Any) -> None:
        if key in self._sent:
            return
        if len(self._sent) > 1000:
            self._sent.clear()
        self._sent.add(key)
        self.send(order)

    def _report_rival(self, address: str, now: datetime) -> None:
        try:
            with database.connection():
                credentials.seen_in_two_places(
                    self.link.bus, host_id=self.host_id, addresses=(address, self.address), now=now
                )
        except (RmError, database.DatabaseError) as error:
            log.error("that two agents use the credential of host %s could not be noted: %s", self.host_id, error)

    def _say_goodbye(self) -> None:
        if self.connected_at is None:
            return
        try:
            with database.connection():
                presence.gone(
                    self.link.bus, host_id=self.host_id, connected_at=self.connected_at, now=self.link.clock()
                )
                updates.connection_ended(self.link.bus, host_id=self.host_id, now=self.link.clock())
        except Exception:
            log.exception("the end of host %s's connection could not be noted", self.host_id)
