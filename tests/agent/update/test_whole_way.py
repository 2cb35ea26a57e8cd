"""One host from order to commit: real zipapps, the real guard, a real server."""

from pathlib import Path

import pytest

from tests.agent.conftest import until
from tests.agent.update.machine import Machine, UpdateServer, Workshop, wait_until_over

pytestmark = pytest.mark.timeout(150)


def test_an_ordered_release_is_fetched_swapped_tried_and_committed(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    before = machine.live()
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt) == ("committed", "soaking", "")
    assert machine.live() == release.artifact_sha256
    hello = releases.hello_of(2)
    assert (hello.payload.running_sha256, hello.payload.update["phase"]) == (release.artifact_sha256, "trial")
    phases = releases.phases(attempt)
    assert [p for p in phases if p in ("accepted", "preflight", "selftest", "swapping", "soaking")] == [
        "accepted", "preflight", "selftest", "swapping", "soaking",
    ]  # fmt: skip
    wait_until_over(machine)
    assert machine.left() == {"rm-agent.old"}
    assert machine.program.with_name("rm-agent.old").read_bytes() == workshop.agent(1).read_bytes()
    assert before != machine.live()
    until(lambda: len(releases.log(attempt)) > 5)


def test_an_update_imports_nothing_after_the_start(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    watched = machine.root / "modules"
    spy = f"""
import atexit, sys, threading
import agent.running
start = agent.running.RunningAgent.run
def run(self):
    before = set(sys.modules)
    code = start(self)
    open({str(watched)!r}, "w").write(repr(sorted(set(sys.modules) - before)))
    return code
agent.running.RunningAgent.run = run
"""
    spied = workshop.agent(1, spy)
    machine.program.write_bytes(spied.read_bytes())
    machine.start()

    attempt = machine.send(machine.order(release))

    assert releases.outcome(attempt)[0] == "committed"
    assert watched.read_text() == "[]"


def test_an_idle_agent_has_no_thread_of_the_update(machine: Machine, releases: UpdateServer) -> None:
    machine.start()
    releases.connected()
    pid = machine.agent_pid()

    threads = Path(f"/proc/{pid}/task")

    # The session, the jobs, the schedules; what the agent asks restic at its start is over soon.
    until(lambda: len(list(threads.iterdir())) == 3)
