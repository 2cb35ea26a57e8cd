"""What a soak comes to: slopes, spans that count, bounds that break, and the plot."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from soak.account import Bounds, broken, calm
from soak.course import Plan
from soak.plot import draw
from soak.samples import Sample, slope, slopes
from soak.truth import Account

PLAN = Plan(agents=10, browsers=1)


def course(*samples, **fields):
    good = Sample(at=100, life=1, files=10, wal_mb=4, acks=[5.0], pages=[20.0], lags=[100.0])
    return SimpleNamespace(
        plan=PLAN, samples=[good, *samples], events=[], updated=11, update_ended="completed", **fields
    )


def test_a_straight_line_has_its_slope_and_no_error():
    found = slope([(0, 100), (1800, 101), (3600, 102)])

    assert (found.an_hour, found.error, found.minutes) == (2, 0, 60)


def test_scatter_is_told_as_an_error():
    assert slope([(0, 100), (1200, 104), (2400, 99), (3600, 102)]).error > 1


def test_each_life_of_the_server_has_a_slope_of_its_own_without_its_warm_up():
    first = [Sample(at=at, life=1, pss_mb=999 if at < 60 else 80) for at in range(0, 300, 20)]
    second = [Sample(at=at, life=2, pss_mb=50 if at < 360 else 70) for at in range(300, 600, 20)]

    found = slopes([*first, *second], "pss_mb")

    assert {life: one.an_hour for life, one in found.items()} == {1: 0, 2: 0}


def test_a_soak_in_which_all_went_well_has_no_broken_bound():
    assert broken(course(), Account(), Bounds()) == []


@pytest.mark.parametrize(
    ("account", "sample", "says"),
    [
        (Account(lost=["job x is not there"]), {}, "lost: job x"),
        (Account(doubled=["job x twice"]), {}, "doubled: job x"),
        (Account(unfinished=2), {}, "2 jobs never came to an end"),
        (Account(), {"acks": [600.0] * 9}, "acknowledgements: p99 was 600 ms"),
        (Account(), {"pages": [2000.0] * 9}, "pages: p95 was 2000 ms"),
        (Account(), {"lags": [2000.0] * 9}, "streams: p95 was 2000 ms"),
        (Account(), {"files": 500}, "500 open files"),
        (Account(), {"wal_mb": 70}, "write-ahead log grew to 70 MB"),
    ],
)
def test_each_bound_can_break(account, sample, says):
    found = broken(course(Sample(at=200, life=1, **sample)), account, Bounds())

    assert len(found) == 1 and says in found[0]


def test_hosts_that_were_not_updated_are_told():
    some = course()
    some.updated = 9

    assert broken(some, Account(), Bounds()) == ["9 of 11 hosts have the new release; the fleet update is completed"]


def test_delays_right_after_something_was_done_to_the_fleet_are_not_judged():
    samples = [Sample(at=at, life=1) for at in (10, 100, 130, 190)]

    assert [sample.at for sample in calm(samples, [(101, "killed")])] == [100, 190]


def test_the_plot_is_one_picture_with_its_events_and_gaps():
    samples = [
        {
            "at": at,
            "pss_mb": None if at == 60 else 80 + at / 60,
            "ack_p99": 5.0,
            "page_p95": 9.0,
            "files": 12,
            "wal_mb": 4,
        }
        for at in (0, 30, 60, 90, 120)
    ]

    picture = draw(samples, [(45.0, "server <killed> & started")], title="10 hosts")

    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]
    assert "1  0:45  server <killed> & started" in texts and "10 hosts" in texts
    memory = next(line for line in picture.splitlines() if 'class="one"' in line and line.count("M") == 2)
    assert memory.count("L") == 2
    assert "prefers-color-scheme: dark" in picture
