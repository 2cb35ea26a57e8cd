"""Sends what is to be told: each channel in its order, a few at once; one that is slow holds up no other lane."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from rm.runtime import Runtime
from rm.services import deliveries, delivery_tries, sending
from rm.store import database
from rm.store import deliveries as rows

log = logging.getLogger(__name__)

LANES = 4
IN_A_ROW = 50
LOOK_BACK = timedelta(hours=1)
GROWTH_EVERY = timedelta(seconds=20)


class DeliveryDriver:
    """Finds the channels that have something to send; what it starts runs in threads of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._lanes = ThreadPoolExecutor(LANES, thread_name_prefix="deliver")
        self._looked_at = runtime.clock() - LOOK_BACK

    def drive(self) -> None:
        """Start what is due; returns at once."""
        now = self._runtime.clock()
        with database.connection():
            if now - self._looked_at >= GROWTH_EVERY:
                since, self._looked_at = self._looked_at, now
                deliveries.catch_up(self._runtime.bus, since=since - GROWTH_EVERY, now=now)
            due = rows.channels_due(now=now)
        for channel_id in due:
            with self._lock:
                if channel_id in self._busy or self._runtime.is_stopping:
                    continue
                self._busy.add(channel_id)
            self._lanes.submit(self._work_off, channel_id)

    def stop(self) -> None:
        """Begin nothing more; what is being sent is marked when it ends, or sent again after the next start."""
        self._lanes.shutdown(wait=False, cancel_futures=True)

    def _work_off(self, channel_id: str) -> None:
        try:
            for _ in range(IN_A_ROW):
                if self._runtime.is_stopping or not self.send_next(channel_id):
                    break
        except Exception:
            log.exception("sending through channel %s stopped; it is tried again", channel_id)
        finally:
            with self._lock:
                self._busy.discard(channel_id)

    def send_next(self, channel_id: str) -> bool:
        """Send the next of this channel; whether to go on with another at once."""
        parts = self._runtime
        with database.connection():
            waiting = rows.next_due(channel_id, now=parts.clock())
            begun = waiting and delivery_tries.begin(
                waiting.id, base_url=parts.settings.base_url, now=parts.clock()
            )  # fmt: skip
            if not begun:
                return False
            channel, notice = begun.channel, deliveries.notice(begun)
        # No connection is held while the other side takes its time.
        outcome = sending.send(parts.vault, channel=channel, delivery_id=begun.id, notice=notice, now=parts.clock())
        with database.connection():
            if outcome.is_ok:
                delivery_tries.arrived(parts.bus, delivery_id=begun.id, now=parts.clock())
            else:
                log.warning("channel %s did not take delivery %s: %s", channel.id, begun.id, outcome.reason)
                delivery_tries.not_arrived(parts.bus, delivery_id=begun.id, reason=outcome.reason, now=parts.clock())
        return outcome.is_ok
