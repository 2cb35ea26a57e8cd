"""Five hundred scripted agents on a clock that is moved (proof 5)."""

import sys
import time
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

from rm.services import fleet_updates
from rm.store import fleet_updates as store
from rm.store.models import FleetUpdate, UpdateAttempt
from tests.cast import ALICE, NOW
from tests.fleet.conftest import table
from tests.fleet.fake_agents import Fleet, Script, add_release

DAY = 24 * 3600
# kind → (how many, how they behave, what becomes of them)
KINDS = {
    "good": (446, Script(), "succeeded"),
    "silent": (4, Script(is_deaf=True), "failed"),
    "slow89": (6, Script(ends="late", hello_after=89), "succeeded"),
    "slow91": (4, Script(ends="late", hello_after=91), "succeeded"),
    "slow200": (4, Script(ends="late", hello_after=200), "succeeded"),
    "crashes": (4, Script(ends="reverts", hello_after=20, reason="boots"), "failed"),
    "hangs": (4, Script(ends="reverts", hello_after=65, reason="no_hello"), "failed"),
    "gone": (2, Script(ends="never"), "failed"),
    "unhealthy": (2, Script(ends="unhealthy", reason="health"), "failed"),
    "flaps": (6, Script(ends="flaps"), "succeeded"),
    "repeats": (8, Script(ends="repeats"), "succeeded"),
    "away": (4, Script(drops_in_download=True, away_seconds=DAY), "succeeded"),
    "asleep": (2, Script(), "succeeded"),
    "busy": (4, Script(busy_until=3 * 3600), "succeeded"),
}


@pytest.fixture
def fleet(app, bus):
    add_release(NOW)
    scripts = [(f"{kind}{index:03}", script) for kind, (number, script, _) in KINDS.items() for index in range(number)]
    # the order in which they come is mixed, and always the same
    scripts.sort(key=lambda one: hash_of(one[0]))
    fleet = Fleet(bus, NOW, scripts)
    asleep = [agent for agent in fleet.agents.values() if agent.name.startswith("asleep")]
    fleet.connect_all(but={agent.name for agent in asleep})
    for agent in asleep:
        fleet.at(DAY + 3600, partial(fleet.connect, agent))
    return fleet


def hash_of(name: str) -> int:
    number = 0
    for letter in name:
        number = (number * 131 + ord(letter)) % 1_000_003
    return number


@pytest.mark.timeout(600)
def test_five_hundred_agents_of_every_kind_come_to_where_they_belong(fleet, bus):
    options = {"waves": [10, "20%"], "max_in_flight": 50, "failure_policy": {"budget": "10%"}, "max_vanished": 500}
    began, wall = time.process_time(), time.monotonic()
    run = fleet_updates.begin(bus, options=options, actor=ALICE, now=fleet.now).id

    paused = 0
    while (now_is := FleetUpdate.get_by_id(run).state) in ("running", "paused"):
        if now_is == "paused":
            paused += 1
            fleet_updates.resume(bus, fleet_update_id=run, actor=ALICE, now=fleet.now)
        fleet.tick()
        assert fleet.now - NOW < timedelta(days=4)

    found = FleetUpdate.get_by_id(run)
    outcome = table(run)
    wrong = {name: state for name, state in outcome.items() if state != expected(name)}
    per_host = fleet.driver_seconds / len(outcome) * 1000
    sys.stdout.write(
        f"\nfake agents: {len(outcome)} hosts, {dict(Counter(outcome.values()))}, ended {found.state} after "
        f"{(fleet.now - NOW).total_seconds() / 3600:.1f} h of their time, {paused} pauses, "
        f"at most {fleet.most_in_flight} in flight, {max(fleet.swapped.values())} swap a host at most\n"
        f"fleet driver: {per_host:.1f} ms of CPU per host ({fleet.driver_steps} steps), "
        f"{fleet.looking_seconds / fleet.looks * 1000:.1f} ms for a look at which nothing is to be done; whole run "
        f"{time.process_time() - began:.1f} s of CPU, {time.monotonic() - wall:.1f} s\n"
    )
    assert not wrong
    assert found.state == "completed_with_exceptions"
    assert max(fleet.swapped.values()) == 1
    assert (
        UpdateAttempt.select().where(UpdateAttempt.state.in_(("queued", "dispatched", "running", "soaking"))).count()
        == 0
    )
    assert store.counts(run) == Counter(outcome.values()) == counted_from_events(run)
    # the claim is 20 ms and belongs to the bench; here the machine may be busy
    assert per_host <= 40


def expected(name: str) -> str:
    return KINDS[next(kind for kind in sorted(KINDS, key=len, reverse=True) if name.startswith(kind))][2]


def counted_from_events(run: str) -> Counter:
    """What the history says became of each host."""
    last: dict[str, str] = {}
    after = 0
    while found := store.events(run, after_id=after, limit=1000):
        after = found[-1].id
        last |= {one.host_id: one.kind.removeprefix("host.") for one in found if one.kind.startswith("host.")}
    return Counter(last.values())
