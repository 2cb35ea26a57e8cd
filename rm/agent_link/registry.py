"""Which agents are connected: one session per host, the newest wins; questions and news find their way."""

import logging
import threading
import time
from collections import deque
from datetime import datetime, timedelta

from rm.agent_link.lending import Errand, Lender
from rm.agent_link.session import AgentSession
from rm.errors import HostOffline, NotFound, Unavailable
from rm.events import CancelRequested, CredentialRevoked, Event, HostConfigChanged, HostScheduleChanged, JobQueued
from rm.shared.protocol import BrowseResult, CommandBrowse

log = logging.getLogger(__name__)

# Fewer than the worker's slots (gunicorn.conf.py), so that pages and health are still answered.
MAX_AGENTS = {"gevent": 20_000, "gthread": 3_000}
# Each may hold an answer of a megabyte, and a page that waits for it.
MAX_QUESTIONS = 100
CONTESTED_SWAPS = 3
CONTESTED_WITHIN = timedelta(minutes=10)


class _Question:
    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.answer: BrowseResult | None = None
        self.is_over = threading.Event()


class AgentRegistry:
    """The connected sessions; fulfils rm.services.agents.Agents."""

    def __init__(self, *, max_agents: int = MAX_AGENTS["gevent"]) -> None:
        self._max_agents = max_agents
        self._lock = threading.Lock()
        self._sessions: dict[str, AgentSession] = {}
        # Still open, though another took the place: nothing else ends one whose peer does not even take its close.
        self._replaced: set[AgentSession] = set()
        self._questions: dict[str, _Question] = {}
        self._swaps: dict[str, deque[datetime]] = {}
        self._lender = Lender()
        self.is_stopping = False

    # ---- sessions ----

    def join(self, session: AgentSession) -> bool:
        """Take a session in; an older one of the same host closes with 4409. False while the server stops."""
        with self._lock:
            if self.is_stopping:
                return False
            before = self._sessions.get(session.host_id)
            self._sessions[session.host_id] = session
            if before is not None:
                self._replaced.add(before)
            if before is not None and self._is_contested(before, session):
                session.rival_address = before.address
        if before is not None:
            before.close(4409, "replaced by a newer connection")
        return True

    def _is_contested(self, before: AgentSession, session: AgentSession) -> bool:
        """Whether this is at least the third time in ten minutes that one credential's connection is replaced."""
        if session.connected_at is None or before.credential_hash != session.credential_hash:
            return False
        swaps = self._swaps.setdefault(session.host_id, deque(maxlen=CONTESTED_SWAPS))
        swaps.append(session.connected_at)
        return len(swaps) == CONTESTED_SWAPS and swaps[-1] - swaps[0] <= CONTESTED_WITHIN

    def leave(self, session: AgentSession) -> bool:
        """Forget a session; its open questions fail at once. False if a newer session took its place."""
        with self._lock:
            self._replaced.discard(session)
            current = self._sessions.get(session.host_id)
            if current is not session:
                return current is None
            del self._sessions[session.host_id]
            lost = [question for question in self._questions.values() if question.host_id == session.host_id]
        for question in lost:
            question.is_over.set()
        return True

    def is_connected(self, host_id: str) -> bool:
        return host_id in self._sessions

    def count(self) -> int:
        return len(self._sessions)

    def is_full(self) -> bool:
        return len(self._sessions) >= self._max_agents

    def stop(self) -> None:
        """Close every session with 1012 and take no new one."""
        with self._lock:
            self.is_stopping = True
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close(1012, "server restarts")

    def cut_stuck(self) -> int:
        """Cut the connections of peers that stopped reading or fell silent; returns how many."""
        now = time.monotonic()
        with self._lock:
            current, replaced = list(self._sessions.values()), list(self._replaced)
        for session in current:
            session.try_news_again()
        sessions = [*current, *replaced]
        stuck = [session for session in sessions if session.is_stuck(now)]
        for session in stuck:
            log.warning("host %s stopped reading or fell silent; its connection is cut", session.host_id)
            session.close(1013, "slow reader")
            session.abort()
        return len(stuck)

    def lend_thread(self, errand: Errand) -> None:
        """Run what a session has to write; it may block on its peer without holding up anybody."""
        self._lender.run(errand)

    # ---- news ----

    def on_event(self, event: Event) -> None:
        """Tell a session that there is something new for its host; quick, and no I/O."""
        if isinstance(event, JobQueued | CancelRequested | HostConfigChanged | HostScheduleChanged):
            session = self._sessions.get(event.host_id)
            if session is not None:
                session.refresh()
        elif isinstance(event, CredentialRevoked):
            session = self._sessions.get(event.host_id)
            if session is not None:
                session.close(4403, "credential revoked")
            self._swaps.pop(event.host_id, None)

    def ask_again(self, host_id: str, job_id: str) -> None:
        session = self._sessions.get(host_id)
        if session is not None:
            session.ask_again(job_id)

    # ---- questions ----

    def ask(self, host_id: str, question: CommandBrowse, *, timeout_seconds: float) -> BrowseResult:
        """The answer; raises HostOffline when the host is not connected, vanishes, or does not answer in time.

        Raises Unavailable while as many questions are open as the server has room for.
        """
        waiting = _Question(host_id)
        with self._lock:
            session = self._sessions.get(host_id)
            if session is not None and len(self._questions) >= MAX_QUESTIONS:
                raise Unavailable("Too many questions wait for hosts just now.", help="Ask again in a moment.")
            if session is not None:
                self._questions[question.request_id] = waiting
        if session is None:
            raise HostOffline("The host is not connected.")
        try:
            if not session.ask(question):
                raise HostOffline("The host's connection is closing.")
            if not waiting.is_over.wait(timeout_seconds):
                raise HostOffline(
                    f"The host did not answer within {timeout_seconds:g} s.",
                    code="no_answer",
                    help="The repository may be slow or unreachable from there; the host keeps trying for a while.",
                )
            if waiting.answer is None:
                raise HostOffline("The host's connection ended before it answered.")
            return waiting.answer
        finally:
            with self._lock:
                self._questions.pop(question.request_id, None)

    def answered(self, host_id: str, result: BrowseResult) -> None:
        """Hand an answer to who waits for it; raises NotFound when nobody does (any more)."""
        with self._lock:
            waiting = self._questions.get(result.request_id)
        if waiting is None or waiting.host_id != host_id:
            raise NotFound("Nobody waits for this answer.")
        waiting.answer = result
        waiting.is_over.set()
