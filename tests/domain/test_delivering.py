"""Who is told, and when it is tried again."""

from datetime import datetime, timedelta, timezone

import pytest

from rm.domain import delivering
from rm.domain.delivering import Wishes

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(), True),
        (Wishes(min_severity="critical"), False),
        (Wishes(kinds=("prune_failed",)), True),
        (Wishes(kinds=("check_failed",)), False),
        (Wishes(tags=("db",)), True),
        (Wishes(tags=("web",)), False),
        (Wishes(kinds=("prune_failed",), tags=("web",)), False),
    ],
)
def test_a_failure_is_told_to_whom_all_wishes_fit(wishes: Wishes, expected: bool) -> None:
    facts = {"severity": "warning", "kinds": ["prune_failed", "forget_failed"], "tags": ["db", "prod"]}

    assert delivering.wants(wishes, **facts) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("event", ["acknowledged", "resolved"])
def test_what_became_of_it_is_told_to_whom_it_was_told_and_who_wants_to_know(event: str) -> None:
    assert delivering.follows_up(Wishes(), event=event, is_told=True)
    assert not delivering.follows_up(Wishes(), event=event, is_told=False)
    assert not delivering.follows_up(
        Wishes(tells_acknowledged=False, tells_resolved=False), event=event, is_told=True
    )  # fmt: skip
    assert not delivering.follows_up(Wishes(), event="raised", is_told=True)


def test_waits_grow_to_an_hour_and_end_after_a_day() -> None:
    waits = [delivering.next_try(tries=tries, created_at=NOW, now=NOW) for tries in range(1, 8)]

    assert [(at - NOW).total_seconds() for at in waits if at] == [30, 120, 600, 1800, 3600, 3600, 3600]
    assert delivering.next_try(tries=20, created_at=NOW, now=NOW + timedelta(hours=23, minutes=1)) is None


def test_a_channel_is_called_dead_after_five_failures_or_when_something_was_given_up() -> None:
    assert not delivering.is_dead(4, gave_up=False)
    assert delivering.is_dead(5, gave_up=False)
    assert delivering.is_dead(1, gave_up=True)
    assert [delivering.channel_pause(number).total_seconds() for number in (1, 5, 500)] == [30, 600, 600]
