"""How long one update takes under systemd with the units as they are shipped: from the button to the hello.

The same under the guard's own supervisor is measured by the benchmark's row "update".
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.install.server import Server, until
from tests.stopwatch import Stopwatch
from tests.systemd.conftest import Host, install
from tests.systemd.machine import Machine
from tests.systemd.releases import Shelf, attempt, ended

pytestmark = [pytest.mark.root, pytest.mark.timeout(240, func_only=True)]

TIMES = 3
LIMIT_SECONDS = 5
SOAK_SECONDS = 1


def test_from_the_button_to_the_hello_it_takes_five_seconds_at_most(
    boot: Callable[[], Machine], server: Server, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="restic-manager-test-") as place:
        shelf = Shelf(server, Path(place) / "releases")
        shelf.add()
        host = install(boot(), server)
        host.wait_until_connected()

        taken = [_press(host, shelf) for _ in range(TIMES)]

    for seconds in taken:
        sys.stdout.write(f"\nbutton to hello with the shipped units: {seconds:.2f} s")
    assert statistics.median(taken) <= LIMIT_SECONDS


def _press(host: Host, shelf: Shelf) -> float:
    """Seconds from the order until the server has the hello of the next release."""
    shelf.add()
    stopwatch = Stopwatch()
    job_id = str(host.ask("POST", "/update", {"soak_seconds": SOAK_SECONDS})["attempt_id"])
    until(lambda: attempt(host, job_id)["state"] in ("soaking", "succeeded"), "the hello", seconds=60)
    seconds = stopwatch.seconds
    assert ended(host, job_id)["state"] == "succeeded"
    return seconds
