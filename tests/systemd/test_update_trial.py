"""Releases that are bad, on real systemd under the shipped units: the guard puts the earlier agent back by itself."""

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.install.server import Server, until
from tests.stopwatch import Stopwatch
from tests.systemd.conftest import Host, install
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.timeout(240, func_only=True)]

LIB = "/usr/local/lib/restic-manager"
UPDATE = "/var/lib/restic-manager-agent/update"
GUARD = f"{LIB}/rm-agent-guard"
HANGS = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n"
DROP_IN = "/etc/systemd/system/rm-agent.service.d/test.conf"


@pytest.fixture(scope="module")
def host(boot: Callable[[], Machine], server: Server) -> Host:
    return install(boot(), server)


@dataclass
class Trial:
    """A release that was swapped in as the agent does it, and what has become of it."""

    host: Host
    release: str
    attempt: str

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.release.encode()).hexdigest()

    def swap(self, *, limit_s: int = 60) -> "Trial":
        machine = self.host.machine
        earlier = machine.out(f"sha256sum {LIB}/rm-agent").split()[0]
        machine.write(f"{LIB}/rm-agent.new", self.release, mode=0o755)
        machine.write(
            f"{UPDATE}/trial.new",
            f"attempt={self.attempt}\nfrom={earlier}\nto={self.hash}\nboots=0\nlimit_s={limit_s}\ncommit_s=600\n",
        )
        machine.out(f"cd {LIB} && ln -f rm-agent rm-agent.old && mv {UPDATE}/trial.new {UPDATE}/trial")
        machine.out(f"cd {LIB} && mv rm-agent.new rm-agent")
        return self

    def start(self) -> "Trial":
        self.host.machine.out("systemctl kill --kill-who=main --signal=KILL rm-agent")
        return self

    def wait_until_put_back(self, *, seconds: float) -> float:
        """After how many seconds the earlier agent is connected again."""
        began = time.monotonic()
        said = f"attempt {self.attempt} is reverted"
        until(lambda: said in self.journal(), "the revert", seconds=seconds)
        self.host.wait_until_connected()
        return time.monotonic() - began

    def journal(self) -> str:
        return self.host.machine.out("journalctl --no-pager -o cat")

    def is_known_as_bad(self) -> bool:
        return self.host.machine.run(f"test -e {UPDATE}/bad/{self.hash}").returncode == 0


def test_the_units_are_installed_and_systemd_finds_no_fault_with_them(host: Host) -> None:
    done = host.machine.run(
        "cd /etc/systemd/system && systemd-analyze verify rm-agent-trial.path rm-agent-trial.service"
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert host.machine.unit("UnitFileState", "rm-agent-trial.path") == "enabled"
    assert host.machine.unit("ActiveState", "rm-agent-trial.path") == "active"
    assert host.machine.run("grep -E '@[A-Z]+@' /etc/systemd/system/rm-agent*").stdout == ""
    assert "RM_GUARD_VERSION=2" in host.machine.unit("Environment")


def test_a_release_that_exits_at_once_is_put_back(host: Host) -> None:
    trial = Trial(host, "import sys\nsys.exit(1)\n", "01JD0000000000000000000001").swap().start()

    seconds = trial.wait_until_put_back(seconds=60)

    sys.stdout.write(f"exits at once: connected again after {seconds:.1f} s\n")
    assert f"attempt {trial.attempt} is reverted: boots" in trial.journal()
    assert trial.is_known_as_bad()
    assert host.machine.run(f"ls {UPDATE}/trial {UPDATE}/ticks {UPDATE}/expired").stdout == ""
    until(lambda: host.machine.unit("ActiveState", "rm-agent-trial.service") == "inactive", "the watch to end")


def test_a_release_that_hangs_and_hears_no_signal_is_put_back_at_the_limit(host: Host) -> None:
    began, stopwatch = time.monotonic(), Stopwatch()
    trial = Trial(host, HANGS, "01JD0000000000000000000002").swap(limit_s=10).start()

    seconds = trial.wait_until_put_back(seconds=60)

    sys.stdout.write(f"hangs, limit of 10 s: connected again after {seconds:.1f} s\n")
    assert f"attempt {trial.attempt} is reverted: expired" in trial.journal()
    assert trial.is_known_as_bad()
    assert time.monotonic() - began > 8
    assert stopwatch.seconds < 25


def test_a_release_that_never_pings_the_watchdog_is_put_back_before_the_limit(host: Host) -> None:
    host.machine.write(DROP_IN, "[Service]\nWatchdogSec=2\nRestartSec=100ms\n")
    host.machine.out("systemctl daemon-reload && systemctl restart rm-agent")
    host.wait_until_connected()
    trial = Trial(host, f"{HANGS}# again\n", "01JD0000000000000000000003").swap().start()

    trial.wait_until_put_back(seconds=90)

    host.machine.out(f"rm {DROP_IN} && systemctl daemon-reload")
    assert f"attempt {trial.attempt} is reverted: boots" in trial.journal()


def test_a_stop_by_the_owner_during_a_trial_is_respected_and_not_held_against_the_release(host: Host) -> None:
    obeys = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open('{UPDATE}/stop_ordered', 'w').close(), sys.exit(0)))\n"
        "print('obeys a stop', flush=True)\ntime.sleep(600)\n"
    )
    trial = Trial(host, obeys, "01JD0000000000000000000004").swap().start()
    until(lambda: "obeys a stop" in trial.journal(), "the release to run")

    host.machine.out("systemctl stop rm-agent")

    stopped_at = time.monotonic()
    until(lambda: time.monotonic() > stopped_at + 4, "the tick to end that may have begun before")
    counted = host.machine.out(f"cat {UPDATE}/ticks")
    until(lambda: time.monotonic() > stopped_at + 8.5, "two ticks to pass")
    assert (host.machine.unit("ActiveState"), host.machine.out(f"cat {UPDATE}/ticks")) == ("inactive", counted)
    host.machine.out("systemctl start rm-agent")
    assert host.machine.out(f"sha256sum {LIB}/rm-agent").split()[0] == trial.hash
    assert "boots=1" in host.machine.out(f"cat {UPDATE}/trial")
    host.machine.out(f"echo credential > {UPDATE}/ask_revert")
    trial.start().wait_until_put_back(seconds=60)
    assert not trial.is_known_as_bad()


def test_power_lost_between_the_rename_and_the_first_start_ends_with_the_earlier_agent(host: Host) -> None:
    trial = Trial(host, "import sys\nsys.exit(78)\n", "01JD0000000000000000000005").swap()
    host.machine.out("sync")

    host.machine.power_cut()
    host.machine.boot()

    trial.wait_until_put_back(seconds=60)
    assert trial.is_known_as_bad()


def test_the_guard_adds_little_to_a_start(host: Host) -> None:
    times = "date +%s%N; i=0; while [ $i -lt 20 ]; do {}; i=$((i + 1)); done; date +%s%N"

    def milliseconds(command: str) -> float:
        began, ended = host.machine.out(times.format(command)).split()
        return (int(ended) - int(began)) / 20 / 1_000_000

    usual = milliseconds(f"{GUARD} check")
    # Files of its own, so that the agent that runs here is not on trial.
    host.machine.out(
        f"mkdir -p /srv/try/bin /srv/try/state/update && cp {LIB}/rm-agent /srv/try/bin/ && cd /srv/try &&"
        " printf 'attempt=X\\nfrom=none\\nto=%s\\nboots=-0\\n' $(sha256sum < bin/rm-agent | cut -c-64) > state/trial"
    )
    counted = milliseconds(
        f"sed s/-0/0/ /srv/try/state/trial > /srv/try/state/update/trial; {GUARD} --root /srv/try check"
    )

    assert "boots=1" in host.machine.out("cat /srv/try/state/update/trial")
    sys.stdout.write(f"guard check before a start: {usual:.1f} ms, during a trial: {counted:.1f} ms\n")
    assert usual < 100
    assert counted < 1000
