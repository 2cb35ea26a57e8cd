"""Keeps the agent connected: dials, judges each ending, waits with jitter, dials again."""

import logging
import random
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.http import Refused, Transport, Unreachable
from agent.session import CredentialRenewed, Session, SessionEnded
from agent.wake import Bell
from agent.watchdog import Watchdog

log = logging.getLogger("agent.link")

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
STEADY_SECONDS = 30.0
RESTART_SECONDS = (0.3, 3.0)
BUSY_SECONDS = (5.0, 30.0)
DIAL_SECONDS = 180.0
REFUSED_SECONDS = (60.0, 300.0)


@dataclass(frozen=True)
class Ending:
    """How an attempt or a connection ended: a kind that decides the wait, and a sentence for people.

    `blame` is what an update on trial must know: the server refuses this "release", or its "credential"; "own" is what
    the agent did itself; empty when it is merely cut off.
    """

    kind: str
    text: str
    blame: str = ""


class Backoff:
    """How long to wait before the next attempt; every wait is jittered, so that a fleet does not come back at once."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.SystemRandom()
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def seconds(self, kind: str) -> float:
        """The wait after an ending of that kind."""
        if kind == "restart":
            return self._chance.uniform(*RESTART_SECONDS)
        if kind == "busy":
            return self._chance.uniform(*BUSY_SECONDS)
        if kind in ("refused", "too_old", "replaced"):
            return self._chance.uniform(*REFUSED_SECONDS)
        ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        return self._chance.uniform(ceiling / 2, ceiling)


def judge_close(ended: SessionEnded) -> Ending:
    """What a session's end means."""
    if isinstance(ended, CredentialRenewed):
        return Ending("restart", f"Connecting anew: {ended}.", blame="own")
    kinds = {1012: "restart", 1013: "busy", 4403: "refused", 4409: "replaced", 4426: "too_old", 4400: "too_old"}
    kind = kinds.get(ended.code, "too_old" if ended.error_code else "lost")
    advice = {
        "refused": "The server has revoked this host's credential. If that was wrong, enrol again, from its page.",
        "replaced": "Another agent uses this host's credential (a cloned machine?). Enrol each machine by itself.",
        "too_old": "This agent and the server do not understand each other. Update the agent.",
    }
    blame = "release" if ended.code == 4426 or ended.error_code else "credential" if ended.code == 4403 else ""
    return Ending(kind, f"{advice[kind]} ({ended})" if kind in advice else str(ended), blame)


def judge_refusal(refused: Refused) -> Ending:
    """What an HTTP answer to the handshake means; only the server's own words revoke a credential."""
    answer = refused.answer
    if answer.status == 401 and answer.error_code == "credential_refused":
        text = "The server does not accept this host's credential. Enrol again from the host's page."
        return Ending("refused", text, blame="credential")
    if answer.error_code in ("protocol_too_old", "hello_invalid"):
        text = f"The server refuses this agent: {answer.error_text or answer.error_code}. Update it."
        return Ending("too_old", text, blame="release")
    if answer.status in (429, 503):
        return Ending("busy", f"The server is busy (HTTP {answer.status}).")
    return Ending("lost", f"The server, or a proxy before it, answered HTTP {answer.status} instead of a WebSocket.")


class Link:
    """The loop that the main thread lives in."""

    def __init__(
        self,
        *,
        transport: Transport,
        credential: Callable[[], str],
        make_session: Callable[..., Session],
        bell: Bell,
        is_stopping: Callable[[], bool],
        told: Callable[[Ending, float], None],
        idle: Callable[[], None],
        refused: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._watchdog = watchdog or Watchdog({})
        self._transport = transport
        self._credential = credential
        self._make_session = make_session
        self._bell = bell
        self._is_stopping = is_stopping
        self._told = told
        self._idle = idle
        self._refused = refused
        self._backoff = backoff or Backoff()

    def run(self) -> None:
        """Stay connected until the agent stops."""
        while not self._is_stopping():
            ending = self._connect_once()
            if ending is None:
                return
            if ending.kind == "refused":
                self._refused()
            seconds = self._backoff.seconds(ending.kind)
            level = logging.ERROR if ending.kind in ("refused", "replaced", "too_old") else logging.WARNING
            log.log(level, "%s Next attempt in %.0f s.", ending.text, seconds)
            self._told(ending, seconds)
            self._wait(seconds)

    def _connect_once(self) -> Ending | None:
        # Name servers that do not answer hold the resolver for longer than the watchdog waits.
        self._watchdog.allow(DIAL_SECONDS)
        try:
            socket = self._transport.open_websocket("/ws/agent", token=self._credential())
        except Refused as refused:
            return judge_refusal(refused)
        except Unreachable as error:
            return Ending("lost", str(error))
        session = self._make_session(socket)
        try:
            session.run()
        except SessionEnded as ended:
            return judge_close(ended)
        finally:
            if session.welcomed_at is not None and time.monotonic() - session.welcomed_at > STEADY_SECONDS:
                self._backoff.reset()
            session.close()
        return None

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_stopping():
            self._watchdog.ping()
            self._idle()
            left = until - time.monotonic()
            if left <= 0:
                return
            self._bell.clear()
            if self._is_stopping():
                return
            select.select([self._bell], [], [], min(left, self._watchdog.look_seconds))
