"""Bad releases and bad moments, each by hand, with a real agent under the real guard: the host always comes back."""

from typing import Any

import pytest
from flask import Response

from rm.shared.protocol import Ack, Error, Message
from tests.agent.conftest import until
from tests.agent.update.machine import QUICK_REVERT, TIMERS, Machine, UpdateServer, Workshop

pytestmark = pytest.mark.timeout(150)

NEVER_CONNECTS = "import agent.link, time\nagent.link.Link._connect_once = lambda self: time.sleep(600)"
LIVES_WITHOUT_HELLO = """import agent.link
def wander(self):
    self._wait(3600)
agent.link.Link._connect_once = wander"""
HELLO_THEN_CRASH = """import agent.running, os
agent.running.RunningAgent.welcomed = lambda self, welcome: os._exit(9)"""
UNHEALTHY = "import agent.running\nagent.running.RunningAgent._red = lambda self: ['restic']"
FAULTS = {
    "ends at once with 0": ("sys.exit(0)", "boots"),
    "ends at once with 1": ("sys.exit(1)", "boots"),
    "ends at once with 78": ("sys.exit(78)", "boots"),
    "hangs before hello": (NEVER_CONNECTS, "expired"),
    "hangs in its start": ("import time\ntime.sleep(600)", "expired"),
    "lives and never says hello": (LIVES_WITHOUT_HELLO, "expired"),
    "says hello and crashes": (HELLO_THEN_CRASH, "boots"),
    "is not well": (UNHEALTHY, "unhealthy_restic"),
}


def comes_back(machine: Machine, releases: UpdateServer, attempt: str, *, reason: str, is_bad: bool) -> None:
    """The earlier release runs, says why, and left the host as it was."""
    outcome = releases.outcome(attempt, seconds=60)
    assert (outcome[0], outcome[2]) == ("rolled_back", reason)
    assert machine.live() == machine.workshop.release(1).artifact_sha256
    assert bool(list((machine.update / "bad").glob("*"))) is is_bad
    assert machine.is_over()
    assert not (machine.update / "reverted").exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_release_is_put_back_and_reported_by_the_one_before(
    machine: Machine, releases: UpdateServer, workshop: Workshop, fault: str
) -> None:
    code, reason = FAULTS[fault]
    release = releases.offer(workshop.release(2, code))
    machine.start()

    attempt = machine.send(machine.order(release, timers=QUICK_REVERT if reason == "expired" else TIMERS))

    comes_back(machine, releases, attempt, reason=reason, is_bad=True)
    again = machine.send(machine.order(release))
    assert releases.outcome(again) == ("refused", "accepted", "known_bad")


def after_the_fence(releases: UpdateServer, answer: Response) -> None:
    """From the moment at which the swap is allowed every handshake is answered like this."""

    def fence(message: Message) -> Ack:
        releases.handshakes = answer
        return Ack(id=message.id)

    releases.fence = fence


@pytest.mark.parametrize(
    ("status", "code", "reason", "is_bad"),
    [(401, "credential_refused", "credential", False), (400, "protocol_too_old", "release", True)],
)
def test_a_release_that_the_server_refuses_is_put_back(
    machine: Machine, releases: UpdateServer, workshop: Workshop, status: int, code: str, reason: str, is_bad: bool
) -> None:
    release = releases.offer(workshop.release(2))
    body = f'{{"error": {{"code": "{code}", "message": "no", "help": ""}}}}'
    after_the_fence(releases, Response(body, status, content_type="application/json"))
    machine.start()

    attempt = machine.send(machine.order(release))
    until(lambda: "is reverted" in machine.said(), seconds=60)
    releases.handshakes = None

    comes_back(machine, releases, attempt, reason=reason, is_bad=is_bad)


def test_a_hello_that_is_answered_with_4426_puts_the_release_back(
    machine: Machine, releases: UpdateServer, workshop: Workshop
) -> None:
    release = releases.offer(workshop.release(2))
    machine.start()
    welcome = releases.welcomes

    def judge() -> Any:
        is_new = machine.live() == release.artifact_sha256
        return Error(code="protocol_too_old", detail="too old") if is_new else welcome()

    releases.welcomes = judge
    attempt = machine.send(machine.order(release))

    comes_back(machine, releases, attempt, reason="release", is_bad=True)


@pytest.mark.parametrize("answer", [Response("bad gateway", 502), Response("", 302), Response("denied", 403)], ids=str)
def test_a_proxy_or_a_server_that_is_down_in_the_trial_is_never_the_releases_fault(
    machine: Machine, releases: UpdateServer, workshop: Workshop, answer: Response
) -> None:
    release = releases.offer(workshop.release(2))
    after_the_fence(releases, answer)
    machine.start()

    attempt = machine.send(machine.order(release))
    until(lambda: "is reverted" in machine.said(), seconds=60)
    releases.handshakes = None

    comes_back(machine, releases, attempt, reason="unreachable", is_bad=False)
