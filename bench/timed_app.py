"""The server's application, with a clock around its fleet driver: the seconds are in the file RM_BENCH_DRIVER.

For gunicorn, in place of `app`. All of a run of the driver is counted but its rests, in which others have their turn;
otherwise it waits for nothing.
"""

import os
import time
from pathlib import Path

from app import app
from rm.workers.fleet_update import FleetDriver

__all__ = ["app"]

_file = Path(os.environ["RM_BENCH_DRIVER"])
_seconds, _runs = 0.0, 0
_drive, _rest = FleetDriver.drive, FleetDriver._rest


def _timed(driver: FleetDriver) -> int:
    global _seconds, _runs
    begun = time.thread_time()
    try:
        return _drive(driver)
    finally:
        _seconds += time.thread_time() - begun
        _runs += 1
        _file.write_text(f"{_seconds} {_runs}")


def _untimed(driver: FleetDriver, took: float) -> None:
    global _seconds
    begun = time.thread_time()
    try:
        _rest(driver, took)
    finally:
        _seconds -= time.thread_time() - begun


FleetDriver.drive = _timed  # type: ignore[method-assign]
FleetDriver._rest = _untimed  # type: ignore[method-assign]
