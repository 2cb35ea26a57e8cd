"""Rules of the server's own care: when a backup is due, what is removed, how full a disk may be."""

from datetime import timedelta

import pytest

from rm.domain import disk_space, pruning, server_backups
from rm.domain.disk_space import CRITICAL, LOW, MIB, OK, Limits
from rm.domain.server_backups import Made, Plan
from rm.errors import Invalid
from tests.cast import NOW

HOUR = timedelta(hours=1)


def made(*hours_ago: float, is_ok: bool | None = True) -> list[Made]:
    return [Made(f"{hours}", NOW - hours * HOUR, is_ok) for hours in hours_ago]


@pytest.mark.parametrize(
    ("known", "due_in_hours"),
    [
        ([], 0),
        (made(1), 23),
        (made(30), -6),
        (made(1, is_ok=False), -0.75),
        (made(-5, 30), -6),
        (made(1, is_ok=None), 23),
    ],
    ids=["never made", "made", "overdue", "failed: soon again", "one of a clock that was ahead", "being made"],
)
def test_when_the_next_backup_is_due(known: list[Made], due_in_hours: float) -> None:
    assert server_backups.next_at(known, Plan(), now=NOW) == NOW + due_in_hours * HOUR


def test_the_newest_good_backup_is_too_old_after_two_intervals() -> None:
    plan = Plan(every_hours=6)
    failed_since = [*made(1, is_ok=False), *made(20)]

    assert server_backups.old_since(failed_since, plan, first_seen=NOW) == NOW - 8 * HOUR
    assert server_backups.old_since([], plan, first_seen=NOW) == NOW + 12 * HOUR


def test_the_only_good_backup_is_never_removed() -> None:
    known = [*made(1, 2, 3, is_ok=False), *made(100)]

    assert server_backups.to_remove(known, 1) == []
    assert [one.id for one in server_backups.to_remove(made(1, 2, 3, 4), 2)] == ["3", "4"]


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (Plan(every_hours=0), "every_hours"), (Plan(every_hours=10**6), "every_hours"), (Plan(keep=0), "keep"),
        (Plan(directory="relative"), "directory"), (Plan(directory="/srv/../etc"), "directory"),
        (Plan(directory="/srv/\n"), "directory"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_kept_is_refused(plan: Plan, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan.checked()

    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("free_mib", "before", "found"),
    [
        (513, OK, OK), (511, OK, LOW), (127, OK, CRITICAL), (130, CRITICAL, CRITICAL), (145, CRITICAL, LOW),
        (530, LOW, LOW), (570, LOW, OK), (570, CRITICAL, OK), (0, OK, CRITICAL),
    ],
)  # fmt: skip
def test_a_disk_turns_low_and_critical_and_back_only_with_room_to_spare(free_mib: int, before: str, found: str) -> None:
    assert disk_space.level(free_mib * MIB, Limits(), before=before) == found


def test_orders_are_the_last_to_be_refused() -> None:
    with pytest.raises(Invalid) as caught:
        Limits(low_mib=100, critical_mib=100).checked()

    assert list(caught.value.fields) == ["critical_mib"]


def test_a_log_stays_no_longer_than_its_job_and_each_kind_has_its_least() -> None:
    assert pruning.checked({}) == pruning.defaults()
    with pytest.raises(Invalid) as caught:
        pruning.checked({"job_logs": 500, "jobs": 400})
    assert list(caught.value.fields) == ["job_logs"]
    with pytest.raises(Invalid) as caught:
        pruning.checked({"jobs": 1, "skipped_runs": 10**6})
    assert set(caught.value.fields) == {"jobs", "skipped_runs"}
