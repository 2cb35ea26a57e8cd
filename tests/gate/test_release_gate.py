"""Previous release → this one → back; this one → the next. Real server, agents, guard and restic on both sides.

Each way prints a line. "Previous" is the newest tag, or this tree under a lower sequence where there is none yet. Every
host has a schedule of its own; on each way a run comes due, which takes place once or is explained once.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from demo.releases import Releases
from tests.gate.host import Host, environment, instant, prepare
from tests.gate.releases import HARMLESS, UNWELL_WHEN_ASKED, Shelf
from tests.install.server import Server, until

pytestmark = [pytest.mark.restic, pytest.mark.timeout(300)]

# Nothing here waits for a release that never says hello, so that each has time to, also on a busy machine.
PATIENT = {"RM_UPDATE_TIMEOUT_SECONDS": "90", "RM_FLEET_HOST_TIMEOUT_SECONDS": "95"}
# A third of it is how long a host must be unwell, so all that is to happen on trial before that has this long.
TRIAL_SOAK_SECONDS = 15


@dataclass
class Gate:
    """A server, and hosts that were enrolled and have backed up when the previous release was its current one."""

    server: Server
    shelf: Shelf
    previous: str
    directory: Path
    hosts: list[Host] = field(default_factory=list)

    def host(self, name: str) -> Host:
        found = next(host for host in self.hosts if host.name == name)
        assert found.sha256() == self.previous
        assert found.says("version")["seq"] == 1
        return found

    def goes_on_by_itself(self, host: Host, schedules: str) -> None:
        """What this release has left is as it was, and the previous one runs it, or leaves it alone if it has none."""
        assert (host.state / "schedules.json").read_text() == schedules
        assert [text for text in host.says("status")["problems"] if "schedule" in text] == []
        if self.shelf.predecessor_has_schedules:
            host.run_on_schedule()
        else:
            told = host.ask("GET")["schedules"]
            assert (told["is_supported"], told["wanted"] > 0) == (False, True)


@dataclass
class Meanwhile:
    """A run that comes due while one release gives way to another."""

    host: Host
    due: datetime | None = None

    def come_due(self) -> None:
        self.due = self.host.come_due()

    def took_place(self) -> None:
        """Once, whichever release fired it."""
        if self.due is not None:
            self.host.has_backed_up(self.host.fired(self.due))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    directory = tmp_path_factory.mktemp("gate")
    server = Server(directory / "server", settings=PATIENT).start()
    shelf = Shelf(Releases(directory / "releases", environment=environment), server)
    gate = Gate(server, shelf, shelf.add_previous(), directory)
    try:
        for name in ("forward", "finishes", "goes-on", "next"):
            gate.hosts.append(Host(server, directory, name))
        prepare(gate.hosts)
        for host in gate.hosts:
            host.plan_hourly()
            if shelf.predecessor_has_schedules:
                host.has_applied_schedules()
        yield gate
    finally:
        for host in gate.hosts:
            host.machine.stop(seconds=40)
        server.stop()


@pytest.fixture
def say(gate: Gate, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Print a line with the seconds since the test began."""
    begun = time.monotonic()
    name = gate.shelf.predecessor or "this tree with a lower sequence"

    def say(text: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"\n  {time.monotonic() - begun:5.1f} s  {text.format(previous=f'previous ({name})')}")

    yield say


def test_a_host_on_the_previous_release_takes_this_one_and_goes_back_by_order(
    gate: Gate, say: Callable[[str], None]
) -> None:
    host = gate.host("forward")
    this = gate.shelf.add("this")
    forth, back = Meanwhile(host), Meanwhile(host)

    found = host.update(meanwhile=forth.come_due if gate.shelf.predecessor_has_schedules else lambda: None)

    assert (found["state"], found["proven"]) == ("succeeded", True), found
    runs_proven(host, this)
    forth.took_place()
    host.back_up()
    host.run_on_schedule()
    say("{previous} → this: committed, and a backup after it")

    floor, schedules = host.kept("update/floor.json"), (host.state / "schedules.json").read_text()
    ordered = host.ask("POST", "/rollback", {"reason": "the gate goes back"})["attempt_id"]
    if gate.shelf.predecessor_has_schedules:
        back.come_due()
    until(lambda: host.attempt(ordered)["state"] == "soaking", "the previous release back on trial", seconds=60)

    runs(host, gate.previous)
    assert host.kept("update/floor.json")["seq"] == floor["seq"]
    host.do_not_hold_jobs_back(ordered)
    back.took_place()
    host.back_up()
    gate.goes_on_by_itself(host, schedules)
    say("this, committed → {previous} by order: online, and a backup after it")


def test_a_host_on_this_release_takes_the_next_one(gate: Gate, say: Callable[[str], None]) -> None:
    host = gate.host("next")
    gate.shelf.add("this")
    assert host.update(meanwhile=lambda: None)["state"] == "succeeded"
    host.run_on_schedule()
    schedules = (host.state / "schedules.json").read_text()
    following = gate.shelf.add("next", HARMLESS)
    forth = Meanwhile(host)

    found = host.update(meanwhile=forth.come_due)

    assert (found["state"], found["proven"]) == ("succeeded", True), found
    runs_proven(host, following)
    forth.took_place()
    host.back_up()
    assert (host.state / "schedules.json").read_text() == schedules
    host.run_on_schedule()
    say("this → next: committed, and a backup after it")


# Last: who lost the server takes a while to dial again, and longer after each time.
@pytest.mark.parametrize("name", ["finishes", "goes-on"])
def test_what_this_release_leaves_on_trial_is_read_by_the_previous_one(
    gate: Gate, say: Callable[[str], None], name: str
) -> None:
    """A backup that this release began, by order or on schedule, ends in an outage: before it is put back, or after."""
    host = gate.host(name)
    before = {file: host.kept(file) for file in ("secrets.json", "update/trust.json")}
    unwell = gate.shelf.add(name, UNWELL_WHEN_ASKED)
    attempt_id = host.order_update(soak_seconds=TRIAL_SOAK_SECONDS)
    until(lambda: host.attempt(attempt_id)["state"] == "soaking", "this release on trial")
    assert host.sha256() == unwell

    # On trial it takes new settings, a new job, and loses its server.
    host.name_repository(f"renamed, of {name}")
    until(
        lambda: host.kept("secrets.json")["config_version"] > before["secrets.json"]["config_version"], "new settings"
    )
    host.has_applied_schedules()
    schedules = (host.state / "schedules.json").read_text()
    host.do_not_hold_jobs_back(attempt_id)
    job_id = host.fire() if name == "goes-on" else host.order_backup()
    restic = host.halt_restic(job_id)
    gate.server.stop()
    due = host.come_due()
    until(lambda: host.explained() == 1, "what came due explained by this release")
    if name == "finishes":
        os.kill(restic, signal.SIGCONT)
        until(lambda: host.holds_report("job.finished", job_id), "the result in the outbox of this release")
        assert host.sha256() == unwell
    (host.machine.root / "unwell").touch()
    until(lambda: host.sha256() == gate.previous, "the previous release put back", seconds=60)
    until(lambda: host.holds_report("update.result", attempt_id), "the previous release knows how it went")
    if name == "goes-on":
        assert not host.holds_report("job.finished", job_id)
        os.kill(restic, signal.SIGCONT)
        until(lambda: host.holds_report("job.finished", job_id), "the result in the outbox of the previous release")
    gate.server.start()

    host.has_backed_up(job_id)
    [told] = host.ask("GET", "/skipped-runs")["items"]
    assert (instant(told["due_from"]), told["reason"], told["job_id"]) == (due, "still_running", job_id)
    found = host.attempt_ended(attempt_id)
    assert (found["state"], found["reason"]) == ("rolled_back", "unhealthy_restic"), found
    assert found["failure_class"] == "release"
    runs(host, gate.previous)
    is_as_the_previous_release_needs_it(host, attempt_id, before)
    assert (host.state / "update" / "bad" / unwell).exists()
    host.back_up()
    gate.goes_on_by_itself(host, schedules)
    host.end_halted(found["fleet_update_id"])
    say(f"{{previous}} → this → back: a backup that {SAID[name]}, its result once, and a backup after it")


SAID = {
    "finishes": "ended in an outage before the revert",
    "goes-on": "a schedule began and the previous release took up",
}


def runs(host: Host, sha256: str) -> None:
    """The host runs this artifact, as the server knows and as the file on the host says itself."""
    version = host.says("version")
    assert host.sha256() == version["sha256"] == sha256
    until(lambda: host.ask("GET")["status"] == "online", f"{host.name} online")
    seen = host.ask("GET")
    assert (seen["agent_version"], seen["agent_seq"]) == (version["version"], version["seq"])
    assert host.proven_sha256() == sha256
    assert host.says("status")["update"]["trouble"] == []
    assert host.set_aside() == []


def runs_proven(host: Host, sha256: str) -> None:
    """The same, and the update is over: committed on the host, which keeps what it ran before."""
    runs(host, sha256)
    floor, journal = host.kept("update/floor.json"), host.kept("update/update.json")
    assert floor["sha256"] == sha256
    assert floor["previous"]["sha256"]
    assert journal["attempt"] is None
    assert (journal["outcomes"][-1]["outcome"], journal["outcomes"][-1]["reported"]) == ("committed", True)
    # The guard ends a committed trial at its next tick.
    until(lambda: not (host.state / "update" / "trial").exists(), "the trial to end")


def is_as_the_previous_release_needs_it(host: Host, attempt_id: str, before: dict[str, dict[str, object]]) -> None:
    """Every file that the release on trial wrote, or could have, still says the same to the previous one."""
    secrets, trust = host.kept("secrets.json"), host.kept("update/trust.json")
    floor, journal = host.kept("update/floor.json"), host.kept("update/update.json")
    for name in ("server", "host_id", "credential"):
        assert secrets[name] == before["secrets.json"][name]
    assert [one["name"][:7] for one in secrets["repositories"].values()] == ["renamed"]
    assert trust["root_keys"] == before["update/trust.json"]["root_keys"]
    assert (floor["seq"], len(floor["swaps"])) == (1, 1)
    [outcome] = [one for one in journal["outcomes"] if one["attempt_id"] == attempt_id]
    assert journal["attempt"] is None
    assert (outcome["outcome"], outcome["reason"], outcome["reported"]) == ("rolled_back", "unhealthy_restic", True)
    of_the_trial = ("trial", "reverted", "ask_revert", "hello")
    assert not [name for name in of_the_trial if (host.state / "update" / name).exists()]
