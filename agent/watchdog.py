"""Tells systemd that the agent's loop goes round; without systemd it does nothing."""

import logging
import os
import socket

log = logging.getLogger("agent.watchdog")

LOOK_SECONDS = 30.0


class Watchdog:
    """Speaks to the service manager for the thread that runs the loop; nobody else may, or a hang would go unseen."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        found = os.environ if environ is None else environ
        address = found.get("NOTIFY_SOCKET", "")
        usual = found.get("WATCHDOG_USEC", "")
        is_meant = found.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._usual = int(usual) if usual.isdigit() and address and is_meant else 0
        self._is_patient = False

    @property
    def look_seconds(self) -> float:
        """The longest the loop may wait for something before it must be heard again."""
        return min(LOOK_SECONDS, self._usual / 3_000_000) if self._usual else LOOK_SECONDS

    @property
    def is_on(self) -> bool:
        """Whether somebody counts the seconds."""
        return self._usual > 0

    def ping(self) -> None:
        """The loop has come round."""
        if self._is_patient:
            self._is_patient = False
            self._tell(f"WATCHDOG_USEC={self._usual}")
        self._tell("WATCHDOG=1")

    def allow(self, seconds: float) -> None:
        """The loop now does one thing that may take so long, such as a name lookup without a network."""
        longer = int(seconds * 1_000_000)
        if longer > self._usual:
            self._is_patient = True
            self._tell(f"WATCHDOG_USEC={longer}")

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
