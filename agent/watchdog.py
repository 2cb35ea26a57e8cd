"""Tells whoever supervises the agent that its loop goes round: systemd, or the guard."""

import logging
import os
import socket
import time
from pathlib import Path

log = logging.getLogger("agent.watchdog")

LOOK_SECONDS = 30.0
GUARD_LOOK_SECONDS = 5.0
GUARD_TICK_SECONDS = 2.0
GUARD_LOOK_TICKS = 2.5
GUARD_WRITES_SECONDS = 1.0


class Watchdog:
    """Speaks to the supervisor for the thread that runs the loop; nobody else may, or a hang would go unseen."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        found = os.environ if environ is None else environ
        address = found.get("NOTIFY_SOCKET", "")
        usual = found.get("WATCHDOG_USEC", "")
        is_meant = found.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._usual = int(usual) if usual.isdigit() and address and is_meant else 0
        self._is_patient = False
        alive = found.get("RM_GUARD_ALIVE", "")
        self._alive = Path(alive) if alive else None
        self._tick_seconds = _seconds(found.get("RM_GUARD_TICK", ""))
        self._count = 0
        self._written_at = 0.0

    @property
    def look_seconds(self) -> float:
        """The longest the loop may wait for something before it must be heard again."""
        if self._usual:
            return min(LOOK_SECONDS, self._usual / 3_000_000)
        return min(GUARD_LOOK_SECONDS, GUARD_LOOK_TICKS * self._tick_seconds) if self._alive else LOOK_SECONDS

    @property
    def is_on(self) -> bool:
        """Whether systemd counts the seconds."""
        return self._usual > 0

    def ping(self) -> None:
        """The loop has come round."""
        now = time.monotonic()
        was_patient = self._is_patient
        if was_patient:
            self._is_patient = False
            self._tell(f"WATCHDOG_USEC={self._usual}")
        self._tell("WATCHDOG=1")
        if was_patient or now - self._written_at >= GUARD_WRITES_SECONDS:
            self._written_at = now
            self._show("")

    def allow(self, seconds: float) -> None:
        """The loop now does one thing that may take so long, such as a name lookup without a network."""
        longer = int(seconds * 1_000_000)
        if longer > self._usual:
            self._is_patient = True
            self._tell(f"WATCHDOG_USEC={longer}")
            self._show(f" {int(seconds / self._tick_seconds) + 1}")

    def _show(self, ticks: str) -> None:
        """A number that grows, and for how many ticks it may stand still if that is longer than usual."""
        if self._alive is None:
            return
        self._count += 1
        temporary = self._alive.with_name("alive.new")
        try:
            temporary.write_text(f"{self._count}{ticks}\n")
            temporary.replace(self._alive)
        except OSError as error:
            log.debug("the guard's file could not be written: %s", error)

    def _tell(self, text: str) -> None:
        if not self.is_on:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.settimeout(1)
                speaker.connect(self._address)
                speaker.send(text.encode())
        except OSError as error:
            log.debug("systemd was not reached: %s", error)


def _seconds(text: str) -> float:
    """The guard's tick, which tests shorten."""
    try:
        found = float(text)
    except ValueError:
        return GUARD_TICK_SECONDS
    return found if 0 < found < GUARD_TICK_SECONDS else GUARD_TICK_SECONDS
