"""Fleet updates under everything that hosts and people may do, in any order (proof 3)."""

import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rm.domain import fleet_explain
from rm.domain.fleet_options import Options, Share
from rm.domain.fleet_state import OPEN_STATES, UNFINISHED
from rm.domain.fleet_update import takes_slot
from tests.domain.fleet_world import TO_SEQ, World, member

HOSTS = [f"h{number}" for number in range(6)]
counted = Counter()

OPTIONS = st.builds(
    Options,
    max_in_flight=st.integers(1, 3),
    waves=st.sampled_from([(), (Share(2),), (Share(1), Share(50, is_percent=True))]),
    budget=st.sampled_from([None, Share(0), Share(2), Share(50, is_percent=True)]),
)
CLASSES = st.sampled_from(["release", "integrity", "infrastructure", "host"])


class FleetMachine(RuleBasedStateMachine):
    """Hosts take their steps at will; the driver may die after any action of a step."""

    @initialize(
        options=OPTIONS,
        waves=st.lists(st.integers(0, 3), min_size=6, max_size=6),
        asleep=st.sets(st.sampled_from(HOSTS), max_size=2),
    )
    def start(self, options, waves, asleep):
        members = [
            member(name, position, wave=wave, is_online=name not in asleep)
            for position, (name, wave) in enumerate(zip(HOSTS, sorted(waves), strict=True))
        ]
        self.world = World(options, members)
        self.before = {one.host_id: one.state for one in members}
        counted["fleet updates"] += 1

    @property
    def fleet(self):
        return self.world.fleet

    # ---- the driver ----

    @rule(most=st.integers(0, 4), seconds=st.sampled_from([0, 1, 10, 100]))
    def drive_and_die(self, most, seconds):
        self.world.now += timedelta(seconds=seconds)
        self.world.step(most=most)
        counted["steps"] += 1

    @rule()
    def drive(self):
        self.world.now += timedelta(seconds=1)
        self.world.step()
        counted["steps"] += 1

    # ---- hosts ----

    @rule(who=st.integers(0, 5), what=st.integers(0, 11), failure_class=CLASSES, cannot_return=st.booleans())
    def a_host_takes_a_step(self, who, what, failure_class, cannot_return):
        """One of the hosts with an open attempt does one of the things that it can do now."""
        live = [one for one in self.fleet.members if one.holds_attempt]
        if not live:
            return
        one = live[who % len(live)]
        moves = self.moves(one.attempt, one)
        if not moves:
            return
        move = moves[what % len(moves)]
        counted[move] += 1
        if move == "fails":
            self.world.attempt(
                one.host_id, state="failed", failure_class=failure_class, message="It failed.",
                is_revert_failed=cannot_return and one.attempt.is_fenced,
            )  # fmt: skip
        else:
            getattr(self, move)(one.host_id, one.attempt)

    @rule(
        turns=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11)), min_size=5, max_size=25),
        failure_class=CLASSES,
    )
    def hosts_and_driver_take_turns(self, turns, failure_class):
        for who, what in turns:
            self.a_host_takes_a_step(who, what, failure_class, cannot_return=False)
            self.drive()

    def moves(self, attempt, one):
        """What a host can do in this state of its attempt; what usually happens is named more often."""
        if attempt.is_cancel_requested and not attempt.is_fenced:
            return ["gives_up"]
        if attempt.state == "queued":
            may_go = one.is_online and (self.fleet.state == "running" or attempt.is_rollback)
            return ["downloads", "downloads", "drains"] if may_go else []
        if attempt.state == "running" and attempt.phase == "draining":
            return ["downloads", "downloads", "puts_it_off", "fails"]
        if attempt.state == "running" and not attempt.is_fenced:
            return [*["asks_to_swap"] * 7, "fails"]
        if attempt.state == "running":
            return [*["says_hello"] * 7, "fails"]
        return [*["commits"] * 9, "fails"] if attempt.state == "soaking" else []

    def downloads(self, name, attempt):
        self.world.attempt(name, state="running", phase="downloading")

    def drains(self, name, attempt):
        self.world.attempt(name, state="running", phase="draining")

    def puts_it_off(self, name, attempt):
        self.world.attempt(name, state="deferred", phase="", retry_at=self.world.now + timedelta(seconds=60))

    def asks_to_swap(self, name, attempt):
        if self.fleet.state not in ("running", "cancelling") and not attempt.is_rollback:
            self.world.attempt(name, is_cancel_requested=True)
            counted["fences refused"] += 1
            return
        self.world.attempt(name, phase="swapping", is_fenced=True, cap_at=self.world.now + timedelta(seconds=95))
        if not attempt.is_rollback:
            self.world.swaps[name] += 1
            counted["swaps"] += 1

    def says_hello(self, name, attempt):
        self.world.attempt(name, state="soaking", phase="trial", cap_at=None)

    def commits(self, name, attempt):
        self.world.attempt(name, state="succeeded")
        self.world.change(name, agent_seq=1 if attempt.is_rollback else TO_SEQ)

    def gives_up(self, name, attempt):
        self.world.attempt(name, state="cancelled")

    @rule(who=st.integers(0, 5))
    def comes_late(self, who):
        late = [
            one for one in self.fleet.members
            if one.attempt and one.attempt.state == "failed" and one.attempt.is_fenced and not one.attempt.is_rollback
        ]  # fmt: skip
        if late:
            name = late[who % len(late)].host_id
            self.world.attempt(name, state="succeeded", is_revert_failed=False)
            self.world.change(name, agent_seq=TO_SEQ)
            counted["corrections"] += 1

    @rule(name=st.sampled_from(HOSTS))
    def goes_or_comes(self, name):
        one = self.world.member(name)
        self.world.change(name, is_online=not one.is_online, last_seen_at=self.world.now)

    @rule(name=st.sampled_from(HOSTS))
    def begins_or_ends_a_job(self, name):
        self.world.change(name, is_busy=not self.world.member(name).is_busy)

    # ---- people ----

    @rule(luck=st.integers(0, 9))
    @precondition(lambda self: self.fleet.state == "running")
    def pause(self, luck):
        if luck in (3, 4, 5):
            self.world.fleet = replace(self.fleet, state="paused")

    @rule()
    @precondition(lambda self: self.fleet.state in ("paused", "halted"))
    def go_on(self):
        for one in self.fleet.members:
            if one.state == "failed" and self.fleet.state == "halted":
                self.world.move(one.host_id, "skipped")
        self.world.fleet = replace(self.fleet, state="running")

    @rule()
    @precondition(lambda self: self.fleet.state in ("paused", "halted"))
    def retry(self):
        for one in self.fleet.members:
            if one.state == "failed":
                self.world.change(one.host_id, attempt=None)
                self.world.move(one.host_id, "waiting")
                self.world.swaps[one.host_id] = 0
        self.world.fleet = replace(self.fleet, state="running")

    @rule(is_hard=st.booleans(), back=st.booleans(), luck=st.integers(0, 9))
    @precondition(lambda self: self.fleet.state in OPEN_STATES)
    def cancel(self, is_hard, back, luck):
        if luck == 7:
            self.world.fleet = replace(self.fleet, state="cancelling", is_hard_cancel=is_hard, is_rolling_back=back)

    # ---- what must hold ----

    @invariant()
    def nothing_is_ordered_unless_it_runs(self):
        if hasattr(self, "world"):
            assert set(self.world.dispatched_while) <= {"running"}

    @invariant()
    def counters_equal_events(self):
        if not hasattr(self, "world"):
            return
        told = dict(self.before)
        for host_id, state in self.world.events:
            told[host_id] = state
        assert told == {one.host_id: one.state for one in self.fleet.members}

    @invariant()
    def no_host_is_swapped_twice(self):
        if hasattr(self, "world"):
            assert all(number <= 1 for number in self.world.swaps.values())

    @invariant()
    def never_more_are_in_flight_than_may_be(self):
        if not hasattr(self, "world"):
            return
        most = self.fleet.options.max_in_flight
        # who drained beside the slots may come back while all are taken; so many may drain there
        assert sum(1 for one in self.fleet.members if takes_slot(self.fleet, one)) <= 2 * most

    @invariant()
    def every_host_has_a_sentence(self):
        if hasattr(self, "world"):
            for one in self.fleet.members:
                assert fleet_explain.explain(self.fleet, one.host_id, to_version="2.0")
            assert fleet_explain.next_sentence(self.fleet, self.world.now)

    @invariant()
    def every_unfinished_state_has_an_exit(self):
        """With hosts that answer and time that passes, a running one ends, and one being cancelled too."""
        self.looks = getattr(self, "looks", 0) + 1
        if not hasattr(self, "world") or self.looks % 7 or self.fleet.state not in ("running", "cancelling"):
            return
        world = World(self.fleet.options, list(self.fleet.members))
        world.fleet, world.now = self.fleet, self.world.now
        for _ in range(80):
            if world.fleet.state not in ("running", "cancelling"):
                break
            world.now += timedelta(seconds=61)
            for one in world.fleet.members:
                self._go_well(world, one)
            world.step()
        left = [one for one in world.fleet.members if one.state in UNFINISHED]
        assert world.fleet.state not in ("running", "cancelling"), [(one.state, one.attempt) for one in left]
        counted["ends reached"] += 1

    @staticmethod
    def _go_well(world, one):
        world.change(one.host_id, is_online=True, is_busy=False, last_seen_at=world.now)
        attempt = one.attempt
        if attempt is None or not attempt.is_open or attempt.state == "deferred":
            return
        if attempt.is_cancel_requested and not attempt.is_fenced:
            world.attempt(one.host_id, state="cancelled")
        elif attempt.state == "queued" and world.fleet.state != "running" and not attempt.is_rollback:
            return
        else:
            world.attempt(one.host_id, state="succeeded", is_fenced=True)
            world.change(one.host_id, agent_seq=1 if attempt.is_rollback else TO_SEQ)

    def teardown(self):
        if hasattr(self, "world"):
            assert not [
                one for one in self.fleet.members if self.fleet.state not in OPEN_STATES and one.state in UNFINISHED
            ]


def test_no_order_of_events_breaks_a_fleet_update():
    counted.clear()

    run_state_machine_as_test(
        FleetMachine,
        settings=settings(
            max_examples=200, stateful_step_count=40, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

    sys.stdout.write(
        "\nfleet properties: " + ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) + ", 0 violations\n"
    )
    assert counted["swaps"] > 100
    assert counted["ends reached"] > 100
