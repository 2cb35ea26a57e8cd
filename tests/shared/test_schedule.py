"""When runs are due: against a simple reading of cron, over random expressions, zones and the days of clock changes."""

import importlib.resources
import itertools
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.shared.schedule import (
    ScheduleError,
    Timing,
    describe,
    due_between,
    jitter,
    next_due,
    upcoming,
    zone_named,
    zone_of_this_machine,
)

UTC = timezone.utc
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo")
START = datetime(2026, 1, 1, tzinfo=UTC)
quick = settings(max_examples=80, deadline=None)

instants = st.integers(0, 2 * 365 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
zones = st.sampled_from(ZONES).map(zone_named)


@st.composite
def fixed_crons(draw: st.DrawFn) -> tuple[str, int, int, set[int], set[int]]:
    """A cron expression at one time of some days: its text, minute, hour, days of month, days of week."""
    minute, hour = draw(st.integers(0, 59)), draw(st.integers(0, 23))
    days = draw(st.sets(st.integers(1, 28), max_size=3))
    weekdays = draw(st.sets(st.integers(0, 6), max_size=3)) if not days else set()
    words = [",".join(map(str, sorted(some))) or "*" for some in (days, weekdays)]
    return f"{minute} {hour} {words[0]} * {words[1]}", minute, hour, days, weekdays


crons = st.one_of(
    fixed_crons().map(lambda found: found[0]),
    st.sampled_from(
        ["*/5 * * * *", "7-59/20 * * * *", "0 */6 * * *", "30 2 * * *", "0 0 1 * *", "15,45 2 * * SUN", "0 12 L * *"]
    ),
)


def is_meant(day: date, days: set[int], weekdays: set[int]) -> bool:
    return (not days or day.day in days) and (not weekdays or day.isoweekday() % 7 in weekdays)


@quick
@given(crons, instants, zones)
def test_the_next_run_lies_ahead_and_nothing_lies_between(cron: str, after: datetime, zone: ZoneInfo) -> None:
    timing = Timing(cron=cron)
    due = next_due(timing, after=after, zone=zone)

    assert due is not None and due > after and due.tzinfo is UTC
    middle = after + (due - after) / 2
    assert next_due(timing, after=middle, zone=zone) == due
    assert next_due(timing, after=due - timedelta(seconds=1), zone=zone) == due


@quick
@given(crons, instants, zones, st.lists(st.integers(1, 20_000), min_size=1, max_size=8))
def test_however_a_stretch_is_cut_the_same_runs_are_due_in_it(
    cron: str, after: datetime, zone: ZoneInfo, cuts: list[int]
) -> None:
    timing = Timing(cron=cron)
    moments = [after]
    for minutes in cuts:
        moments.append(moments[-1] + timedelta(minutes=minutes / 4))

    whole = list(due_between(timing, after=after, until=moments[-1], zone=zone))
    parts = [
        due
        for begin, end in itertools.pairwise(moments)
        for due in due_between(timing, after=begin, until=end, zone=zone)
    ]

    assert parts == whole == sorted(set(whole))


@quick
@given(fixed_crons(), st.integers(0, 700), st.sampled_from(ZONES))
def test_a_run_at_a_fixed_time_happens_once_on_each_of_its_days_also_when_the_clocks_change(
    found: tuple[str, int, int, set[int], set[int]], first: int, name: str
) -> None:
    cron, minute, hour, days, weekdays = found
    zone = ZoneInfo(name)
    start = date(2026, 1, 1) + timedelta(days=first)
    begin = datetime(start.year, start.month, start.day, tzinfo=zone)
    wanted = [day for i in range(70) if is_meant(day := start + timedelta(days=i), days, weekdays)]
    last = start + timedelta(days=70)
    until = datetime(last.year, last.month, last.day, tzinfo=zone)

    runs = [
        due.astimezone(zone)
        for due in due_between(
            Timing(cron=cron), after=begin - timedelta(seconds=1), until=until - timedelta(seconds=1), zone=zone
        )
    ]

    assert [run.date() for run in runs] == wanted
    for run in runs:
        late = run.replace(tzinfo=None) - datetime.combine(run.date(), time(hour, minute))
        assert timedelta(0) <= late <= timedelta(hours=1), "only a time that does not exist is moved"


@pytest.mark.parametrize(
    ("cron", "day", "expected"),
    [
        pytest.param("30 2 * * *", date(2026, 3, 29), ["01:00"], id="spring, in the gap: right after it"),
        pytest.param("15,45 2 * * *", date(2026, 3, 29), ["01:00"], id="spring, two in the gap: once"),
        pytest.param("0 3 * * *", date(2026, 3, 29), ["01:00"], id="spring, after the gap"),
        pytest.param("30 2 * * *", date(2026, 10, 25), ["00:30"], id="autumn, in the hour that comes twice: once"),
        pytest.param(
            "*/30 2 * * *", date(2026, 10, 25), ["00:00", "00:30", "01:00", "01:30"], id="autumn, every half hour"
        ),
        pytest.param("*/30 2 * * *", date(2026, 3, 29), [], id="spring, every half hour of an hour that is not there"),
    ],
)
def test_the_days_on_which_clocks_change_are_read_as_debian_reads_them(
    cron: str, day: date, expected: list[str]
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)

    runs = due_between(Timing(cron=cron), after=begin, until=begin + timedelta(hours=23), zone=zone)

    assert [run.strftime("%H:%M") for run in runs if run.astimezone(zone).date() == day] == expected


def test_a_run_is_not_due_again_for_one_who_asks_in_the_second_of_two_equal_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert second.astimezone(zone).strftime("%H:%M") == "02:10"

    assert next_due(Timing(cron="30 2 * * *"), after=second, zone=zone) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@quick
@given(st.integers(5, 20_000), instants, st.integers(0, 40_000_000))
def test_an_interval_counts_from_the_last_run(minutes: int, after: datetime, ago: int) -> None:
    last = after - timedelta(seconds=ago)
    step = timedelta(minutes=minutes)

    due = next_due(Timing(every_minutes=minutes), after=after, zone=UTC, last=last)

    assert due is not None and after < due <= after + step
    assert (due - last) % step == timedelta(0)
    assert next_due(Timing(every_minutes=minutes), after=after, zone=UTC) == after + step


@quick
@given(crons, instants, zones)
def test_the_next_runs_are_in_order_and_each_is_named_once(cron: str, now: datetime, zone: ZoneInfo) -> None:
    runs = upcoming(Timing(cron=cron), after=now, zone=zone, count=40)

    assert len(runs) == 40 and runs == sorted(set(runs))


@quick
@given(st.text(max_size=40), instants, st.integers(1, 86_400))
def test_jitter_is_the_same_each_time_and_below_its_bound(key: str, due: datetime, seconds: int) -> None:
    found = jitter(key, due, seconds)

    assert timedelta(0) <= found < timedelta(seconds=seconds)
    assert jitter(key, due.astimezone(ZoneInfo("Asia/Tokyo")), seconds) == found
    assert jitter(key, due, 0) == timedelta(0)


def test_jitter_spreads_hosts_over_the_whole_width() -> None:
    due = datetime(2026, 11, 26, 2, 15, tzinfo=UTC)
    tenths = [0] * 10
    for number in range(2000):
        tenths[int(jitter(f"host-{number}", due, 600).total_seconds() // 60)] += 1

    assert min(tenths) > 140 and max(tenths) < 260


@pytest.mark.parametrize(
    ("timing", "says"),
    [
        (Timing(), "one of the two"),
        (Timing(cron="1 2 * * *", every_minutes=60), "one of the two"),
        (Timing(every_minutes=4), "between 5 minutes"),
        (Timing(every_minutes=365 * 1440 + 1), "between 5 minutes"),
        (Timing(cron="15 3 * *"), "five parts"),
        (Timing(cron="0 15 3 * * *"), "five parts"),
        (Timing(cron="61 3 * * *"), "no cron expression"),
        (Timing(cron="0 0 31 2 *"), "date that never comes"),
        (Timing(cron="0 0 * * FOO"), "no cron expression"),
        (Timing(cron="* * * * *"), "less than 5 minutes"),
        (Timing(cron="58,59 3 * * *"), "less than 5 minutes"),
        (Timing(cron="0 0 " + "1," * 100 + "1 * *"), "five parts"),
    ],
)
def test_what_cannot_run_is_refused_with_a_sentence(timing: Timing, says: str) -> None:
    with pytest.raises(ScheduleError, match=says):
        timing.check()


@pytest.mark.parametrize("cron", ["15 3 * * *", "0 0 29 2 *", "*/5 * * * *", "0 2 1-7 * MON", "0 4 L * *"])
def test_what_can_run_is_taken(cron: str) -> None:
    Timing(cron=cron).check()

    assert next_due(Timing(cron=cron), after=START, zone=ZoneInfo("Europe/Berlin")) is not None


def test_a_timing_is_told_in_words() -> None:
    assert describe(Timing(every_minutes=360)) == "Every 6 hours while the host is on"
    assert describe(Timing(every_minutes=1440)) == "Every day while the host is on"
    assert "03:15" in describe(Timing(cron="15 3 * * *"))


def test_the_machines_zone_is_read_from_its_own_file(tmp_path: Path) -> None:
    place = tmp_path / "localtime"
    found = Path("/usr/share/zoneinfo/Europe/Berlin")
    data = (
        found.read_bytes()
        if found.exists()
        else (importlib.resources.files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes())
    )
    place.write_bytes(data)

    zone = zone_of_this_machine(place)

    assert datetime(2026, 7, 1, 12, tzinfo=UTC).astimezone(zone).hour == 14
    assert zone_of_this_machine(tmp_path / "none") is UTC
    place.write_bytes(b"no zone")
    assert zone_of_this_machine(place) is UTC
    assert zone_named("Mars/Olympus") is UTC and zone_named("") is UTC and zone_named("../../etc/passwd") is UTC
