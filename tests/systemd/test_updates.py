"""Updates on real systemd machines, installed by install.sh: every way in which a release or a host can be bad.

The timers are a sixth of the real ones, through the server's setting and a drop-in; one hang has the true ones. The
machines live through their scenarios side by side, and a table of what became of each is printed.
"""

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.install.server import Server, build_agent, until
from tests.systemd.conftest import Host, install
from tests.systemd.machine import Machine
from tests.systemd.releases import (
    CRASHES_AFTER_HELLO,
    EXITS,
    HANGS,
    SILENT,
    UNHEALTHY,
    Shelf,
    attempt,
    ended,
)

pytestmark = [pytest.mark.root, pytest.mark.timeout(540, func_only=True)]

LIB = "/usr/local/lib/restic-manager"
UPDATE = "/var/lib/restic-manager-agent/update"
QUICK = {"RM_UPDATE_TIMEOUT_SECONDS": "15", "RM_FLEET_HOST_TIMEOUT_SECONDS": "17"}
DROP_IN = "/etc/systemd/system/rm-agent.service.d/test.conf"
QUICK_UNIT = "[Service]\nWatchdogSec=5\nRestartSec=400ms\n"


@dataclass
class Outcome:
    """What became of one scenario on one host."""

    name: str
    state: str = ""
    reason: str = ""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""

    def line(self) -> str:
        return f"{self.name:44} {self.state:12} {self.reason:22} {self.seconds:7.1f}"


class Stage:
    """One machine that lives through scenarios, one after the other."""

    def __init__(self, host: Host, shelf: Shelf) -> None:
        self.host = host
        self.shelf = shelf

    @property
    def machine(self) -> Machine:
        return self.host.machine

    def running(self) -> str:
        return self.machine.out(f"sha256sum {LIB}/rm-agent").split()[0]

    def is_bad(self, sha256: str) -> bool:
        return self.machine.run(f"test -e {UPDATE}/bad/{sha256}").returncode == 0

    def is_swapped(self) -> bool:
        return self.machine.run(f"test -e {UPDATE}/trial").returncode == 0

    def wait_for_swap(self, before: str) -> float:
        until(lambda: self.running() != before, "the swap", seconds=60)
        return time.monotonic()

    def restart(self) -> None:
        """Start the agent anew; the server says when it is back, since nothing may be executed here for now."""
        before = self.host.ask("GET", "")["connected_at"]
        self.machine.out("systemctl restart rm-agent")
        until(lambda: self.host.ask("GET", "")["connected_at"] not in (None, before), "the next connection", seconds=30)

    def healthy(self) -> None:
        """Wait until the agent is connected, and no trial is left."""
        self.host.wait_until_connected()
        until(lambda: not self.is_swapped(), "the trial to end", seconds=60)
        until(lambda: self.machine.unit("ActiveState") == "active", "the service to be active")


Scenario = Callable[[Stage, Outcome], None]


def bad_release(code: str) -> Scenario:
    """A release that is swapped in and must be put back."""

    def live(stage: Stage, outcome: Outcome) -> None:
        before = stage.running()
        job_id = stage.shelf.order(stage.host, code=code)
        swapped = stage.wait_for_swap(before)
        tried = stage.running()
        verdict = ended(stage.host, job_id)
        stage.healthy()
        outcome.seconds = time.monotonic() - swapped
        outcome.state, outcome.reason = verdict["state"], verdict["reason"]
        outcome.facts = {"is_back": stage.running() == before, "is_bad": stage.is_bad(tried)}

    return live


def refused(*, tamper: str, arch: str = "any") -> Scenario:
    """What somebody who took the server offers; the host must not swap."""

    def live(stage: Stage, outcome: Outcome) -> None:
        before = stage.running()
        job_id = stage.shelf.order(stage.host, arch=arch, tamper=tamper)
        began = time.monotonic()
        verdict = ended(stage.host, job_id)
        outcome.seconds = time.monotonic() - began
        outcome.state, outcome.reason = verdict["state"], verdict["reason"]
        outcome.facts = {"is_back": stage.running() == before, "is_bad": False}
        stage.healthy()

    return live


def good(stage: Stage, outcome: Outcome) -> None:
    before = stage.running()
    began = time.monotonic()
    job_id = stage.shelf.order(stage.host)
    until(lambda: attempt(stage.host, job_id)["state"] in ("soaking", "succeeded"), "the hello", seconds=90)
    outcome.seconds = time.monotonic() - began
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {
        "is_new": stage.running() != before,
        "is_proven": verdict["proven"],
        "previous": stage.machine.out(f"sha256sum {LIB}/rm-agent.old").split()[0] == before,
    }


SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__.replace("_", " ")] = function
    return function


SCENARIOS["a good release"] = good
for _code in (0, 1, 78):
    SCENARIOS[f"exits at once with {_code}"] = bad_release(EXITS.format(code=_code))
SCENARIOS["hangs before hello"] = bad_release(HANGS)
SCENARIOS["lives but never says hello"] = bad_release(SILENT)
SCENARIOS["says hello, then crashes"] = bad_release(CRASHES_AFTER_HELLO)
SCENARIOS["is unhealthy"] = bad_release(UNHEALTHY)
SCENARIOS["badly signed"] = refused(
    tamper="UPDATE releases SET signature = (SELECT signature FROM releases WHERE id <> :release LIMIT 1)"
    " WHERE id = :release AND :host <> ''"
)
SCENARIOS["wrong architecture"] = refused(
    arch="arm64", tamper="UPDATE hosts SET arch = 'arm64' WHERE id = :host AND :release <> ''"
)


@scenario
def truncated(stage: Stage, outcome: Outcome) -> None:
    before = stage.running()
    with stage.shelf.lock:
        release = stage.shelf.add()
        [artifact] = release["artifacts"]
        file = stage.shelf.data_dir / "releases" / artifact["sha256"]
        data = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(data[:-1])
        job_id = stage.shelf.ask(stage.host)
    began = time.monotonic()
    verdict = ended(stage.host, job_id)
    file.write_bytes(data)
    outcome.seconds = time.monotonic() - began
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_back": stage.running() == before, "is_bad": stage.is_bad(artifact["sha256"])}
    stage.healthy()


@scenario
def replayed_old(stage: Stage, outcome: Outcome) -> None:
    """The server claims that the host is behind an old release."""
    before = stage.running()
    with stage.shelf.lock:
        old = stage.shelf.add()
        newer = stage.shelf.add()
        good_job = stage.shelf.ask(stage.host)
        assert newer["seq"] > old["seq"]
        assert ended(stage.host, good_job)["state"] == "succeeded"
        stage.healthy()
        before = stage.running()
        stage.shelf.change("UPDATE releases SET is_current = 0 WHERE :release <> ''", release=old["id"])
        stage.shelf.change("UPDATE releases SET is_current = 1 WHERE id = :release", release=old["id"])
        stage.shelf.change("UPDATE hosts SET agent_seq = 0 WHERE id = :host", host=stage.host.host_id)
        job_id = stage.shelf.ask(stage.host)
    began = time.monotonic()
    verdict = ended(stage.host, job_id)
    outcome.seconds = time.monotonic() - began
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_back": stage.running() == before, "is_bad": False}


@scenario
def power_cut_after_the_rename(stage: Stage, outcome: Outcome) -> None:
    """SIGKILL of the whole machine between the rename and the first start; the release does not start."""
    # systemd would start it again within the blink of an eye.
    stage.machine.write(DROP_IN, "[Service]\nWatchdogSec=5\nRestartSec=60\n")
    stage.machine.out("systemctl daemon-reload")
    before = stage.running()
    job_id = stage.shelf.order(stage.host, code=EXITS.format(code=1))
    swapped = stage.wait_for_swap(before)
    stage.machine.power_cut()
    stage.machine.write_offline(DROP_IN, QUICK_UNIT)
    stage.machine.boot()
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.seconds = time.monotonic() - swapped
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_back": stage.running() == before, "is_bad": True}


@scenario
def reboot_in_trial(stage: Stage, outcome: Outcome) -> None:
    """The machine is restarted in good order while a good release is on trial: it is neither charged nor lost."""
    before = stage.running()
    job_id = stage.shelf.order(stage.host)
    swapped = stage.wait_for_swap(before)
    stage.machine.reboot()
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.seconds = time.monotonic() - swapped
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_new": stage.running() != before, "is_proven": verdict["proven"], "previous": True}


@scenario
def suspended_in_trial(stage: Stage, outcome: Outcome) -> None:
    """The lid is closed on a host that has not said hello: twice the limit passes, and none of it counts."""
    before = stage.running()
    job_id = stage.shelf.order(stage.host)
    swapped = stage.wait_for_swap(before)
    with stage.machine.frozen():
        until(lambda: time.monotonic() - swapped > 22, "twice the limit of ten seconds", seconds=30)
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.seconds = time.monotonic() - swapped
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_new": stage.running() != before, "is_proven": verdict["proven"], "previous": True}


@scenario
def asleep_in_download(stage: Stage, outcome: Outcome) -> None:
    """The lid is closed while the release comes in, for longer than the server waits; a day is more of the same."""
    stage.machine.out("printf '\\n[limits]\\ndownload_kib_per_second = 100\\n' >> /etc/restic-manager/agent.toml")
    stage.restart()
    before = stage.running()
    job_id = stage.shelf.order(stage.host)
    until(lambda: attempt(stage.host, job_id)["phase"] == "downloading", "the download", seconds=60)
    with stage.machine.frozen():
        until(lambda: attempt(stage.host, job_id)["provisional"], "the server to wait no longer", seconds=60)
    began = time.monotonic()
    verdict = ended(stage.host, job_id)
    outcome.seconds = time.monotonic() - began
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_back": stage.running() == before, "is_bad": False, "is_late": verdict["late"]}
    stage.machine.out("sed -i '/^.limits.$/,$d' /etc/restic-manager/agent.toml")
    stage.restart()
    stage.healthy()


def untouched(prepare: str, undo: str) -> Scenario:
    """A host that cannot be updated must say so, and go on as before."""

    def live(stage: Stage, outcome: Outcome) -> None:
        stage.machine.out(prepare)
        stage.restart()
        before = stage.running()
        job_id = stage.shelf.order(stage.host)
        began = time.monotonic()
        verdict = ended(stage.host, job_id)
        outcome.seconds = time.monotonic() - began
        outcome.state, outcome.reason = verdict["state"], verdict["reason"]
        outcome.facts = {"is_back": stage.running() == before, "is_bad": False, "message": verdict["message"]}
        stage.machine.out(undo)
        stage.restart()

    return live


SCENARIOS["noexec directory"] = untouched(
    f"mount --bind {LIB} {LIB} && mount -o remount,bind,noexec {LIB}", f"umount -l {LIB}"
)
SCENARIOS["read-only directory"] = untouched(
    f"mount --bind {LIB} {LIB} && mount -o remount,bind,ro {LIB}", f"umount -l {LIB}"
)
SCENARIOS["full disk"] = untouched(
    f"cp -a {LIB} /srv/lib && mount -t tmpfs -o size=16m,mode=755 none {LIB} && cp -a /srv/lib/. {LIB}/",
    f"umount -l {LIB} && rm -rf /srv/lib",
)


@scenario
def server_down_in_trial(stage: Stage, outcome: Outcome) -> None:
    """The server goes away at the swap and returns after the limit: no release is charged with that."""
    before = stage.running()
    job_id = stage.shelf.order(stage.host)
    swapped = stage.wait_for_swap(before)
    stage.shelf.server.stop()
    until(lambda: time.monotonic() - swapped > 16, "more than the limit of ten seconds", seconds=30)
    stage.shelf.server.start()
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.seconds = time.monotonic() - swapped
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_new": stage.running() != before, "is_proven": verdict["proven"], "previous": True}


@scenario
def server_restarts_midway(stage: Stage, outcome: Outcome) -> None:
    """The server is killed while the host prepares the update."""
    before = stage.running()
    began = time.monotonic()
    job_id = stage.shelf.order(stage.host)
    until(lambda: attempt(stage.host, job_id)["state"] != "queued", "the order to leave")
    stage.shelf.server.kill()
    stage.shelf.server.start()
    verdict = ended(stage.host, job_id)
    stage.healthy()
    outcome.seconds = time.monotonic() - began
    outcome.state, outcome.reason = verdict["state"], verdict["reason"]
    outcome.facts = {"is_new": stage.running() != before, "is_proven": verdict["proven"], "previous": True}


# Which scenarios share a machine; the lanes are lived through side by side, the last two each on a server of its own.
LANES = (
    ("a good release", "exits at once with 0", "badly signed", "says hello, then crashes", "noexec directory"),
    ("exits at once with 1", "wrong architecture", "lives but never says hello", "read-only directory", "full disk"),
    ("exits at once with 78", "hangs before hello", "truncated", "is unhealthy", "suspended in trial"),
    ("asleep in download", "replayed old", "power cut after the rename", "reboot in trial"),
)
LONELY = ("server down in trial", "server restarts midway")
TRUE_TIMERS = "hangs, with the true timers"
SLEPT = "asleep in download"


@pytest.fixture(scope="module")
def outcomes(boot: Callable[[], Machine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """Live through all of it, and print the table."""
    build_agent()
    found: dict[str, Outcome] = {}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="restic-manager-test-")))

        def serve(name: str, **settings: str) -> Shelf:
            server = Server(tmp_path_factory.mktemp(name), settings=settings).start()
            stack.callback(server.stop)
            shelf = Shelf(server, directory / name)
            shelf.add()
            return shelf

        common, lonely, true = serve("common", **QUICK), serve("lonely", **QUICK), serve("true")
        stages = [Stage(install(boot(), common.server), common) for _ in LANES]
        alone = Stage(install(boot(), lonely.server), lonely)
        slow = Stage(install(boot(), true.server), true)
        for stage in [*stages, alone]:
            stage.machine.write(DROP_IN, QUICK_UNIT)
            stage.machine.out("systemctl daemon-reload && systemctl restart rm-agent")
            stage.host.wait_until_connected()
        SCENARIOS[TRUE_TIMERS] = SCENARIOS["hangs before hello"]
        plan = [*zip(stages, LANES, strict=True), (alone, LONELY), (slow, (TRUE_TIMERS,))]
        threads = [threading.Thread(target=_live, args=(*lane, found), daemon=True) for lane in plan]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(500)
        sys.stdout.write(f"\n{'scenario':44} {'outcome':12} {'reason':22} seconds, swap (or order) to healthy host\n")
        for name in sorted(found):
            sys.stdout.write(f"{found[name].line()}\n")
        yield found


def _live(stage: Stage, names: tuple[str, ...], found: dict[str, Outcome]) -> None:
    for name in names:
        outcome = found[name] = Outcome(name)
        try:
            SCENARIOS[name](stage, outcome)
        except Exception as error:  # noqa: BLE001 told by the scenario's own test
            log = stage.machine.run("journalctl --no-pager -o short-monotonic -u 'rm-agent*' | tail -n 60").stdout
            outcome.trouble = f"{type(error).__name__}: {error}\n{log}"
            return


PUT_BACK = {
    "exits at once with 0": "boots",
    "exits at once with 1": "boots",
    "exits at once with 78": "boots",
    "hangs before hello": "",
    "lives but never says hello": "expired",
    "says hello, then crashes": "boots",
    "is unhealthy": "unhealthy_restic",
    "power cut after the rename": "boots",
    TRUE_TIMERS: "",
}
REFUSED = {
    "badly signed": "manifest_bad_signature",
    "wrong architecture": "no_artifact",
    "replayed old": "below_floor",
    "truncated": "not_served",
    "noexec directory": "no_exec",
    "read-only directory": "read_only",
    "full disk": "no_space",
}
COMMITTED = (
    "a good release", "reboot in trial", "suspended in trial", "server down in trial", "server restarts midway",
)  # fmt: skip


def outcome_of(outcomes: dict[str, Outcome], name: str) -> Outcome:
    assert name in outcomes, "an earlier scenario on the same machine failed"
    assert not outcomes[name].trouble, outcomes[name].trouble
    return outcomes[name]


@pytest.mark.parametrize("name", PUT_BACK)
def test_a_bad_release_is_put_back_by_the_host_itself(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcome_of(outcomes, name)

    assert outcome.state == "rolled_back"
    assert outcome.reason == PUT_BACK[name] or not PUT_BACK[name]
    assert outcome.facts == {"is_back": True, "is_bad": True}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_run_here_never_does(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcome_of(outcomes, name)

    assert outcome.state in ("refused", "failed")
    assert outcome.reason == REFUSED[name] or not REFUSED[name]
    assert (outcome.facts["is_back"], outcome.facts["is_bad"]) == (True, False)


@pytest.mark.parametrize("name", COMMITTED)
def test_a_good_release_stays_whatever_happens_meanwhile(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcome_of(outcomes, name)

    assert outcome.state == "succeeded"
    assert outcome.facts == {"is_new": True, "is_proven": True, "previous": True}


def test_with_the_true_timers_a_hanging_host_is_back_before_the_server_gives_it_up(
    outcomes: dict[str, Outcome],
) -> None:
    outcome = outcome_of(outcomes, TRUE_TIMERS)

    assert outcome.seconds < 90


def test_a_host_that_slept_through_its_download_corrects_the_verdict(outcomes: dict[str, Outcome]) -> None:
    outcome = outcome_of(outcomes, SLEPT)

    # It goes on where it was if the server takes it up again, and swaps nothing if that verdict stays.
    assert (outcome.state, outcome.facts["is_back"]) in (("succeeded", False), ("cancelled", True))
    assert (outcome.facts["is_late"], outcome.facts["is_bad"]) == (True, False)


def test_no_scenario_was_left_out(outcomes: dict[str, Outcome]) -> None:
    assert set(outcomes) == {*PUT_BACK, *REFUSED, *COMMITTED, SLEPT} == set(SCENARIOS)
