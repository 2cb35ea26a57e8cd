"""What the clocks of two looks tell about the time between them."""

import importlib.resources
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.schedules.waking import BeatFile, Clocks, Gap, Moment, gap_between, join

UTC = timezone.utc
BEFORE = Moment(wall=datetime(2026, 11, 25, 21, 10, tzinfo=UTC), boot_id="b1", boottime=5000.0, monotonic=4000.0)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def rare_looks() -> None:
    """Here a look comes as often as in earnest."""


def later(*, wall: float, boot: float, mono: float, boot_id: str = "b1") -> Moment:
    return Moment(
        wall=BEFORE.wall + timedelta(seconds=wall),
        boot_id=boot_id,
        boottime=BEFORE.boottime + boot,
        monotonic=BEFORE.monotonic + mono,
    )


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        pytest.param(later(wall=30, boot=30, mono=30), None, id="a look as usual"),
        pytest.param(later(wall=80, boot=80, mono=80), None, id="a busy machine"),
        pytest.param(later(wall=3600, boot=3600, mono=20), "asleep", id="asleep"),
        pytest.param(later(wall=3600, boot=3600, mono=3600), "agent_stopped", id="no agent"),
        pytest.param(later(wall=3600, boot=30, mono=30), "clock", id="set forward"),
        pytest.param(later(wall=-3600, boot=30, mono=30), None, id="set back"),
        pytest.param(later(wall=9000, boot=-4000, mono=-3000, boot_id="b2"), "off", id="off"),
        pytest.param(later(wall=9000, boot=3600, mono=20), "clock", id="asleep, and set forward by more"),
        pytest.param(later(wall=9000, boot=8000, mono=20), "asleep", id="asleep, and set forward by less"),
        pytest.param(later(wall=9000, boot=9000, mono=500), "asleep", id="asleep, and no agent for less"),
    ],
)
def test_the_clocks_tell_sleep_from_power_from_a_dead_agent_from_a_set_clock(now: Moment, kind: str | None) -> None:
    gap = gap_between(BEFORE, now)

    assert (gap.kind if gap else None) == kind
    if gap:
        assert (gap.since, gap.until) == (BEFORE.wall, now.wall)


def test_nothing_is_claimed_when_no_look_before_is_known() -> None:
    assert gap_between(None, BEFORE) is None


def test_the_gaps_are_told_in_the_hosts_own_time() -> None:
    off = gap_between(BEFORE, later(wall=9000, boot=-4900, mono=-3990, boot_id="b2"))

    assert off and off.words(BERLIN) == (
        "the host was off: last seen on at 2026-11-25 22:10, started again at 2026-11-26 00:38"
    )
    asleep = gap_between(BEFORE, later(wall=3600, boot=3600, mono=20))
    assert asleep and asleep.words(UTC) == "the host was asleep since 2026-11-25 21:10"


def test_the_beat_and_the_gaps_survive_the_agent_and_a_damaged_file_is_nothing_known(tmp_path: Path) -> None:
    gaps = join((), Gap(kind="off", since=BEFORE.wall, until=BEFORE.wall + timedelta(hours=1), started=BEFORE.wall))
    BeatFile(tmp_path).save(BEFORE, gaps)

    assert BeatFile(tmp_path).load() == (BEFORE, gaps)
    (tmp_path / "beat.json").write_bytes(b"")
    assert BeatFile(tmp_path).load() == (None, ())


def test_only_the_last_few_gaps_are_kept() -> None:
    gaps: tuple[Gap, ...] = ()
    for hour in range(30):
        since = BEFORE.wall + timedelta(hours=hour)
        gaps = join(gaps, Gap(kind="asleep", since=since, until=since + timedelta(minutes=10)))

    assert len(gaps) == 8 and gaps[-1].since == BEFORE.wall + timedelta(hours=29)


def test_the_real_clocks_agree_with_each_other_and_the_zone_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    clocks = Clocks(tmp_path / "localtime")

    first, second = clocks.moment(), clocks.moment()

    assert gap_between(first, second) is None
    assert first.boottime + 60 > first.monotonic
    assert clocks.zone() is UTC
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert str(clocks.zone()) == "Europe/Berlin"
    assert clocks.zone() is clocks.zone()
    monkeypatch.setenv("TZ", "UTC")
    assert BEFORE.wall.astimezone(clocks.zone()).hour == 21


def test_a_zone_name_that_means_nothing_here_leaves_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "localtime"
    place.write_bytes(importlib.resources.files("tzdata.zoneinfo.Europe").joinpath("Berlin").read_bytes())

    for name in ("", "Mars/Olympus", "CET-1CEST", f":{place}", "/nowhere"):
        monkeypatch.setenv("TZ", name)
        assert BEFORE.wall.astimezone(Clocks(place).zone()).hour == 22, name
