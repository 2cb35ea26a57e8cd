"""What can happen, as facts in the past tense, and the bus that tells them after the commit.

Events carry ids, never data: a listener reads the row again, so order and repetition do no harm.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class HostChanged(Event):
    host_id: str


@dataclass(frozen=True)
class HostSeen(Event):
    """A sign of life, and nothing else changed."""

    host_id: str


@dataclass(frozen=True)
class HostEnrolled(Event):
    host_id: str
    token_id: str


@dataclass(frozen=True)
class EnrolmentTokenRevoked(Event):
    token_id: str


@dataclass(frozen=True)
class HostRemoved(Event):
    host_id: str


@dataclass(frozen=True)
class CredentialRevoked(Event):
    host_id: str


@dataclass(frozen=True)
class JobChanged(Event):
    job_id: str
    host_id: str


@dataclass(frozen=True)
class JobProgressed(Event):
    job_id: str
    host_id: str


@dataclass(frozen=True)
class JobLogGrew(Event):
    job_id: str
    host_id: str


@dataclass(frozen=True)
class JobQueued(Event):
    job_id: str
    host_id: str


@dataclass(frozen=True)
class CancelRequested(Event):
    job_id: str
    host_id: str


@dataclass(frozen=True)
class HostConfigChanged(Event):
    host_id: str


@dataclass(frozen=True)
class HostScheduleChanged(Event):
    """Its source groups or schedules changed: its agent is to be told."""

    host_id: str


@dataclass(frozen=True)
class RepositoryChanged(Event):
    repository_id: str


@dataclass(frozen=True)
class SnapshotsChanged(Event):
    repository_id: str


@dataclass(frozen=True)
class PendingHostsChanged(Event):
    """A host announced itself, was decided on or came in; an empty id: all of them may be concerned."""

    pending_id: str


@dataclass(frozen=True)
class AlertsChanged(Event):
    """An alert or an incident changed; an empty id: all of them may be concerned."""

    alert_id: str
    host_id: str | None = None


@dataclass(frozen=True)
class DeliveriesChanged(Event):
    """Something is to be sent through this channel, was sent, or was not."""

    channel_id: str


@dataclass(frozen=True)
class ReleasesChanged(Event):
    """A release was imported, made the current one, or withdrawn."""


@dataclass(frozen=True)
class UpdateChanged(Event):
    """An attempt to update a host's agent took a step."""

    job_id: str
    host_id: str


@dataclass(frozen=True)
class FleetUpdateChanged(Event):
    fleet_update_id: str


@dataclass(frozen=True)
class AccessChanged(Event):
    """A session of this user ended, or what they may do changed: open pages of theirs look whether they may go on."""

    user_id: str


@dataclass(frozen=True)
class ListenerFellBehind(Event):
    """In place of a backlog that grew too long: read everything again."""


class Listener:
    """One subscriber's bounded queue; equal events that still wait are kept once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[Event, None] = OrderedDict()
        self._ready = threading.Condition()
        self._is_closed = False

    def offer(self, event: Event) -> None:
        """Take an event without ever blocking the publisher."""
        with self._ready:
            if self._is_closed:
                return
            if len(self._waiting) >= self._limit:
                self._waiting.clear()
                event = ListenerFellBehind()
            self._waiting[event] = None
            self._ready.notify()

    def take(self, timeout: float | None) -> list[Event]:
        """All waiting events, after at most `timeout` seconds of waiting for the first; empty if none came."""
        with self._ready:
            if not self._waiting and not self._is_closed:
                self._ready.wait(timeout)
            events = list(self._waiting)
            self._waiting.clear()
            return events

    def close(self) -> None:
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._is_closed


class EventBus:
    """Hands each event to every listener and handler; publishing never raises and never waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._handlers: tuple[Callable[[Event], None], ...] = ()

    def publish(self, event: Event) -> None:
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                log.exception("a handler failed on %s", event)
        for listener in self._listeners:
            listener.offer(event)

    def on_event(self, handler: Callable[[Event], None]) -> None:
        """Call `handler` with every event, in the publisher's thread; it must be quick and do no I/O."""
        with self._lock:
            self._handlers = (*self._handlers, handler)

    @contextmanager
    def subscribe(self, limit: int = 1000) -> Iterator[Listener]:
        """A listener for as long as the block lasts."""
        listener = Listener(limit)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

    def close(self) -> None:
        """Wake every listener for good: streams end, so that the process can stop."""
        for listener in self._listeners:
            listener.close()

    def count_listeners(self) -> int:
        return len(self._listeners)
