"""Which runs are tried again, when, and how often."""

import itertools
from datetime import timedelta
from typing import Any

import pytest

from rm.shared.protocol import SourceGroupSpec
from tests.agent.schedules.planned import DAYS, HOURS, failing, state
from tests.agent.schedules.world import World, daily, due_of


def retrying(world: World, **fields: Any) -> None:
    world.set(daily(), groups=[SourceGroupSpec(name="home", repository_id="r", **fields)])


def test_a_run_that_failed_is_tried_again_with_doubled_waits_and_only_so_often(world: World) -> None:
    failing(world, *["unreachable"] * 9)
    retrying(world, retries=3, retry_minutes=20)

    world.be_on(DAYS)

    runs = world.runs()
    waits = [b.accepted - a.accepted - timedelta(minutes=10) for a, b in itertools.pairwise(runs)]
    assert [job.order.fired.attempt for job in runs if job.order.fired] == [1, 2, 3, 4]
    assert [round(wait / timedelta(minutes=1)) for wait in waits] == [20, 40, 80]
    assert len({due_of(job) for job in runs}) == 1 and len({job.order.job_id for job in runs}) == 4


def test_a_group_that_is_tried_again_says_why_and_when(world: World) -> None:
    failing(world, "unreachable")
    retrying(world, retries=2, retry_minutes=20)

    world.be_on(timedelta(hours=5, minutes=30))

    found = state(world)
    assert (found.code, found.why) == ("retrying", "Try 1 of 3 failed: It failed.")
    assert found.next_at and found.next_at.startswith("2026-11-25T02:45")
    world.be_on(HOURS)
    assert state(world).code == "idle" and len(world.runs()) == 2


@pytest.mark.parametrize("reason", ["wrong_password", "repository_changed", "append_only"])
def test_what_cannot_heal_by_itself_is_not_tried_again(world: World, reason: str) -> None:
    failing(world, reason)
    retrying(world, retries=3)

    world.be_on(10 * HOURS)

    assert len(world.runs()) == 1


def test_a_run_that_a_person_cancelled_is_not_tried_again(world: World) -> None:
    retrying(world, retries=3)
    world.be_on(timedelta(hours=5, minutes=16))
    world.jobs.end(world.runs()[0], "cancelled", "cancelled")

    world.be_on(10 * HOURS)

    assert len(world.runs()) == 1


def test_no_try_comes_after_the_next_due_run(world: World) -> None:
    failing(world, *["unreachable"] * 3)
    group = SourceGroupSpec(name="home", repository_id="r", retries=5, retry_minutes=15)
    world.set(daily("0 * * * *"), groups=[group])

    world.be_on(timedelta(hours=2, minutes=15))

    tries = [(world.show(due_of(j)), j.order.fired.attempt) for j in world.runs() if j.order.fired]
    assert tries == [("24 23:00", 1), ("24 23:00", 2), ("25 00:00", 1)]


def test_a_group_that_is_removed_or_disabled_loses_its_next_try(world: World) -> None:
    failing(world, "unreachable")
    retrying(world, retries=3, retry_minutes=60)
    world.be_on(timedelta(hours=5, minutes=30))
    assert state(world).code == "retrying"

    world.set(daily(groups=("other",)), version=2)
    world.be_on(6 * HOURS)

    assert len(world.runs("home")) == 1 and world.skipped == []
