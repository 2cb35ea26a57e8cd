"""When the open fleet update takes its next step: each second, and at once after an attempt has changed."""

import logging
import threading
import time
from collections.abc import Callable

from rm.events import Event, FleetUpdateChanged, ListenerFellBehind, UpdateChanged
from rm.runtime import Runtime
from rm.services import fleet_updates as service
from rm.store import database, fleet_updates

log = logging.getLogger(__name__)

MOST_STEPS = 20
CORRECT_EVERY_SECONDS = 5.0
# A step looks at every host of the fleet. After one that took long the hosts' reports have three times as long.
SHORT_STEP_SECONDS = 0.01
REST = 3
MOST_REST_SECONDS = 0.5


class FleetDriver:
    """`drive` is one run; `wake` is told to have one made soon. One run at a time, whoever calls."""

    def __init__(self, runtime: Runtime, *, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._wake = wake
        self._one_at_a_time = threading.Lock()
        self._is_open = True
        self._is_wanted = False
        self._has_evidence = True
        self._last_correction = 0.0
        runtime.bus.on_event(self.on_event)

    def on_event(self, event: Event) -> None:
        """Note what an event asks for; quick, and without a look into the database."""
        if isinstance(event, FleetUpdateChanged):
            self._is_open = True
        elif isinstance(event, UpdateChanged | ListenerFellBehind):
            self._has_evidence = True
        else:
            return
        if self._is_open:
            is_news, self._is_wanted = not self._is_wanted, True
            # a run that is under way looks again before it ends
            if is_news and not self._one_at_a_time.locked():
                self._wake()

    def drive(self) -> int:
        """Take the steps that can be taken now; returns how many. Next to nothing when no fleet update is open."""
        if not self._one_at_a_time.acquire(blocking=False):
            return 0
        try:
            return self._drive()
        finally:
            self._one_at_a_time.release()

    def _drive(self) -> int:
        if not self._is_open and not self._has_evidence:
            return 0
        taken = 0
        with database.connection():
            while self._is_open and taken < MOST_STEPS:
                self._is_wanted = False
                began = time.monotonic()
                is_done = service.step(self._runtime.bus, now=self._runtime.clock())
                taken += is_done
                self._rest(time.monotonic() - began)
                if not is_done and not self._is_wanted:
                    self._is_open = fleet_updates.is_any_open()
                    break
            self._correct()
        return taken

    def _rest(self, took: float) -> None:
        if took > SHORT_STEP_SECONDS:
            time.sleep(min(MOST_REST_SECONDS, REST * took))

    def _correct(self) -> None:
        if not self._has_evidence or time.monotonic() - self._last_correction < CORRECT_EVERY_SECONDS:
            return
        self._has_evidence = False
        self._last_correction = time.monotonic()
        corrected = service.correct_past(self._runtime.bus, now=self._runtime.clock())
        if corrected:
            log.info("evidence corrected %d hosts of fleet updates that had ended", corrected)
