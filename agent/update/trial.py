"""A new release on trial: it must say hello, be well for a while, and commit, or ask to be put back.

The guard keeps the time limit. All that is decided here is whether this agent was refused, is cut off, or is well.
"""

import logging
import threading
import time
from collections.abc import Callable

from agent.link import Ending
from agent.update.journal import Attempt
from agent.update.records import GuardFiles, Trial
from agent.update.timers import Timers

log = logging.getLogger("agent.update")

LOOK_SECONDS = 1.0


class OnTrial:
    """The part of a running agent that knows it is on trial; every method returns at once.

    `red` names what is wrong with this agent now, `commit` is called when it has proven itself, `give_up` when the
    guard was asked to put the earlier release back and this process must end.
    """

    def __init__(
        self, *, trial: Trial, attempt: Attempt, timers: Timers, files: GuardFiles, red: Callable[[], list[str]],
        commit: Callable[[], None], give_up: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.trial = trial
        self.attempt = attempt
        self._timers = timers
        self._files = files
        self._red = red
        self._commit = commit
        self._give_up = give_up
        self._monotonic = monotonic
        self._is_over = False
        self._said_hello_at: float | None = None
        self._is_connected = False
        self._was_heard = False
        self._red_since: float | None = None
        self._to_tell: dict[str, str] = {}
        self._dial: threading.Timer | None = None

    @property
    def phase(self) -> str:
        return "trial" if self._said_hello_at is None else "soaking"

    # ---- what the connection tells -----------------------------------------------------------------

    def dials(self) -> None:
        """A connection is tried now; a name server that does not answer can hold it for longer than the trial lasts."""
        self._stop_timer()
        if not self._is_over:
            self._dial = threading.Timer(self._timers.revert_seconds / 2, self._is_cut_off)
            self._dial.daemon = True
            self._dial.start()

    def welcomed(self) -> None:
        """The server has taken this agent's hello."""
        self._stop_timer()
        self._is_connected, self._was_heard = True, False
        if self._is_over:
            return
        if self._said_hello_at is None:
            self._said_hello_at = self._monotonic()
            log.info("The new release said hello; it must be well for %d s.", self._timers.soak_seconds)
        self._tell("hello")

    def heard(self) -> None:
        """A heartbeat came back."""
        self._was_heard = True

    def ended(self, ending: Ending) -> None:
        """A connection, or the try to make one, ended: refused for what it is, or merely cut off."""
        self._stop_timer()
        self._is_connected = False
        if self._is_over or ending.blame == "own":
            return
        if ending.blame:
            self._ask_revert(ending.blame, ending.blame, ending.text)
        else:
            self._is_cut_off()

    # ---- now and then --------------------------------------------------------------------------------

    def look(self) -> float | None:
        """Go on with the trial; how soon to look again, None when it is over."""
        if self._is_over:
            return None
        for name, word in list(self._to_tell.items()):
            self._tell(name, word)
        if self._said_hello_at is None:
            return LOOK_SECONDS
        now = self._monotonic()
        new = [name for name in self._red() if name not in self.attempt.was_red]
        if not new:
            self._red_since = None
        elif self._red_since is None:
            self._red_since = now
        if new and self._red_since is not None and now - self._red_since >= self._timers.red_seconds:
            self._ask_revert("health", f"unhealthy_{new[0]}", f"Not well, and well before: {', '.join(new)}.")
            return None
        if new or now - self._said_hello_at < self._timers.soak_seconds or not (self._is_connected and self._was_heard):
            return LOOK_SECONDS
        if not self._tell("committed", self.trial.to_sha256):
            return LOOK_SECONDS
        self._is_over = True
        self._commit()
        return None

    def stop_was_ordered(self) -> None:
        """Somebody else ends this process: that is no failed start."""
        self._stop_timer()
        if not self._is_over:
            self._tell("stop_ordered")

    # ---- telling the guard ---------------------------------------------------------------------------

    def _is_cut_off(self) -> None:
        if not self._is_over and not self._files.has_told("limit_s"):
            log.warning("The server cannot be reached; the trial lasts up to %d s.", self._timers.unreachable_seconds)
            self._tell("limit_s", str(self._timers.unreachable_seconds))

    def _ask_revert(self, word: str, code: str, text: str) -> None:
        log.error("The earlier release is asked for: %s", text)
        if self._tell("ask_revert", word):
            self._is_over = True
            self._give_up(code, text)

    def _tell(self, name: str, word: str = "") -> bool:
        """Whether the guard was told; what the disk refuses now is tried again at the next look."""
        try:
            self._files.tell(name, word)
        except OSError as error:
            log.error("The guard cannot be told %s: %s", name, error)
            if name not in ("committed", "ask_revert"):
                self._to_tell[name] = word
            return False
        self._to_tell.pop(name, None)
        return True

    def _stop_timer(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
