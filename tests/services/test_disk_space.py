"""A disk that fills up: log lines go first, then orders; results are taken to the end."""

import queue
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from rm.domain.disk_space import CRITICAL, LOW, MIB, OK, Limits
from rm.errors import Unavailable
from rm.services import disk_space, jobs
from rm.shared import instants
from rm.shared.protocol import JobFinished, JobStarted, LogLine
from rm.store import alerts
from rm.store.models import Job, JobLogLine
from rm.store.writer import Writer
from tests import cast
from tests.cast import ALICE, BOB, NOW

WAIT = 60


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    disk_space.forget()
    yield
    disk_space.forget()


@pytest.fixture
def free(bus, settings):
    """free(100) → what the server makes of 100 MiB that are free."""

    def free(mib: int) -> str:
        found = SimpleNamespace(f_bavail=mib, f_frsize=MIB, f_blocks=100_000)
        return disk_space.look(bus, data_dir=settings.data_dir, now=NOW, statvfs=lambda _: found).level

    return free


@pytest.fixture
def running(bus, vault, web1) -> Any:
    group = cast.give_repository(bus, vault, web1)
    job = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=job.id), now=NOW)
    return job


@pytest.fixture
def write(bus, web1, running) -> Iterator[Any]:
    writer = Writer(bus, drops_lines=disk_space.drops_lines)
    writer.start()

    def write(first: int, count: int) -> bool:
        answers: queue.Queue[bool] = queue.Queue()
        lines = [
            LogLine(n=n, at=instants.to_text(NOW), stream="out", text=f"line {n}") for n in range(first, first + count)
        ]
        writer.log_lines(job_id=running.id, host_id=web1.id, lines=lines, done=answers.put)
        return answers.get(timeout=WAIT)

    yield write
    writer.stop()


def shown() -> list[tuple[int, str]]:
    return [(line.n, line.stream) for line in JobLogLine.select().order_by(JobLogLine.n)]


def test_the_level_is_told_once_and_its_end_too(free) -> None:
    assert [free(mib) for mib in (1000, 400, 390, 100)] == [OK, LOW, LOW, CRITICAL]
    found = alerts.find_open("server_disk_low", "server")
    assert found is not None
    assert (found.count, "100 MiB" in found.message, "new jobs are refused" in found.message) == (2, True, True)
    assert free(2000) == OK
    assert alerts.find_open("server_disk_low", "server") is None


def test_log_lines_are_left_off_with_one_mark_and_answered_all_the_same(free, write) -> None:
    write(1, 2)
    free(400)
    assert write(3, 5) is True, "else the agent would hold its results back behind them"
    assert write(8, 5) is True
    free(2000)
    write(13, 1)

    assert shown() == [(1, "out"), (2, "out"), (3, "cut"), (13, "out")]
    assert "almost full" in JobLogLine.get(JobLogLine.n == 3).text


def test_each_time_that_it_becomes_short_has_its_own_mark(free, write) -> None:
    for first, mib in ((1, 400), (2, 2000), (3, 400), (4, 400)):
        free(mib)
        write(first, 1)

    assert shown() == [(1, "cut"), (2, "out"), (3, "cut")]


def test_new_orders_are_refused_below_the_second_limit_and_results_are_taken(free, bus, web1, running) -> None:
    free(400)
    jobs.order(bus, host_id=web1.id, kind="check", actor=BOB, now=NOW)
    free(50)
    with pytest.raises(Unavailable) as caught:
        jobs.order(bus, host_id=web1.id, kind="unlock", actor=BOB, now=NOW)
    assert (caught.value.code, "Free space" in caught.value.help) == ("disk_low", True)

    jobs.finished(bus, host_id=web1.id, report=JobFinished(job_id=running.id, outcome="succeeded"), now=NOW)
    assert Job.get_by_id(running.id).outcome == "succeeded"
    free(2000)
    jobs.order(bus, host_id=web1.id, kind="unlock", actor=BOB, now=NOW)


def test_changed_limits_count_from_the_next_look_on(free, bus) -> None:
    disk_space.save_limits(bus, wanted=Limits(low_mib=3000, critical_mib=1000), actor=ALICE, now=NOW)

    assert [free(mib) for mib in (4000, 2000, 900)] == [OK, LOW, CRITICAL]


def test_where_nobody_can_be_told_the_effect_comes_all_the_same_and_the_word_later(free, monkeypatch) -> None:
    with monkeypatch.context() as patched:

        def full(*_, **__):
            raise Unavailable("full", code="disk_full")

        patched.setattr(disk_space.alerts, "raise_alert", full)
        assert free(50) == CRITICAL
    assert alerts.find_open("server_disk_low", "server") is None
    free(50)
    assert alerts.find_open("server_disk_low", "server") is not None
