"""What the tests of planning ask a host."""

from datetime import datetime, timedelta, timezone

from rm.shared.protocol import GroupState
from tests.agent.schedules.world import World

UTC = timezone.utc
HOURS = timedelta(hours=1)
DAYS = timedelta(days=1)
EVENING = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)  # 22:00 in Berlin, where the tests' host stands


def why(world: World, number: int = -1) -> str:
    order = world.runs()[number].order
    assert order.fired
    return order.fired.why_late


def state(world: World, group: str = "home") -> GroupState:
    return next(found for found in world.schedules.told.groups if found.source_group == group)


def failing(world: World, *reasons: str) -> None:
    """The next jobs end like this; an empty reason is success."""
    left = list(reasons)
    world.jobs.endings = lambda: left.pop(0) if left else ""
