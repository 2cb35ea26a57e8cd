"""An agent as it is deployed, but for the clock that its schedules read: a file says how far that one is ahead.

usage: python -m tests.process.timely ROOT FILE
"""

import os
import sys
import threading
import time
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

from agent import config as configuration
from agent.config import Paths
from agent.link import Backoff
from agent.platform import linux
from agent.running import RunningAgent
from agent.schedules import planning
from agent.schedules.waking import Clocks, Moment

LOOK_SECONDS = 0.1


class Eager(Backoff):
    """Reconnects at once."""

    def seconds(self, kind: str) -> float:
        return 0.2


class ShiftedClocks(Clocks):
    """The clocks of this machine, all ahead by what the file says; in UTC."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def moment(self) -> Moment:
        ahead = float(self._file.read_text())
        return Moment(
            wall=datetime.now(timezone.utc) + timedelta(seconds=ahead),
            boot_id=linux.boot_id(),
            boottime=time.clock_gettime(time.CLOCK_BOOTTIME) + ahead,
            monotonic=time.clock_gettime(time.CLOCK_MONOTONIC) + ahead,
        )

    def zone(self) -> tzinfo:
        return timezone.utc


def main() -> int:
    root, file = sys.argv[1], Path(sys.argv[2])
    # A run that a stalled machine made late starts at once too.
    planning.SETTLE = timedelta(0)
    planning.CATCH_UP_SECONDS = 0
    paths = Paths.of(root)
    agent = RunningAgent(paths, configuration.load(paths), backoff=Eager(), clocks=ShiftedClocks(file))

    def watch() -> None:
        seen = None
        while True:
            found = os.stat(file).st_mtime_ns
            if found != seen:
                seen = found
                agent.schedules.ring()
            time.sleep(LOOK_SECONDS)

    threading.Thread(target=watch, daemon=True).start()
    return agent.run()


if __name__ == "__main__":
    sys.exit(main())
