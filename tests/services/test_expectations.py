"""Other expectations of backups count at once, in both directions."""

from dataclasses import replace

from rm.services import general_settings, verdicts
from rm.store.models import GroupVerdict, SourceGroup
from tests import cast
from tests.cast import NOW
from tests.services.judging import DAY, HOUR, swept, told, verdict


def expect(bus, **wanted) -> None:
    new = replace(general_settings.current(), **wanted)
    general_settings.save(bus, wanted=new, actor=cast.ALICE, now=NOW + HOUR)


def test_other_expectations_count_at_the_next_sweep_in_both_directions(bus, web1):
    group = cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    before = verdict(group).late_at

    expect(bus, late_factor=3.0)
    swept(bus, NOW + 2 * HOUR)
    later = verdict(group).late_at
    expect(bus, late_factor=1.5)
    swept(bus, NOW + 2 * HOUR)

    assert (before, later, verdict(group).late_at) == (NOW + 36 * HOUR, NOW + 72 * HOUR, NOW + 36 * HOUR)


def test_the_days_of_intermittent_groups_are_a_setting_and_a_limit_of_their_own_stays(bus, web1):
    group, own = cast.nightly(bus, web1), cast.nightly(bus, web1, name="db")
    SourceGroup.update(mode="intermittent").execute()
    SourceGroup.update(stale_after_hours=5).where(SourceGroup.id == own).execute()
    cast.backed_up(bus, web1.id, NOW)
    cast.backed_up(bus, web1.id, NOW, group="db")

    expect(bus, intermittent_days=20)
    swept(bus, NOW + 2 * HOUR)

    assert (verdict(group).late_at, verdict(own).late_at) == (NOW + 20 * DAY, NOW + 5 * HOUR)


def test_what_is_late_no_more_by_other_expectations_is_resolved(bus, web1):
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, NOW)
    swept(bus, NOW + 37 * HOUR)

    expect(bus, late_factor=4.0)
    swept(bus, NOW + 38 * HOUR)

    assert told() == [("backup_late", "resolved", 1)]


def test_hosts_are_judged_anew_some_at_a_time_and_a_new_change_begins_anew(bus, web1, db1, monkeypatch):
    for host in (web1, db1):
        cast.nightly(bus, host)
        cast.backed_up(bus, host.id, NOW)
    swept(bus, NOW + HOUR)
    monkeypatch.setattr(verdicts, "HOSTS_PER_SWEEP", 1)
    expect(bus, late_factor=3.0)

    passes = [verdicts.sweep(bus, now=NOW + HOUR, is_settled=False) for _ in range(4)]
    assert passes == [1, 1, 0, 0]
    assert {one.late_at for one in GroupVerdict.select()} == {NOW + 72 * HOUR}

    expect(bus, late_factor=2.0)
    verdicts.sweep(bus, now=NOW + HOUR, is_settled=False)
    expect(bus, late_factor=4.0)
    passes = [verdicts.sweep(bus, now=NOW + HOUR, is_settled=False) for _ in range(3)]
    assert passes == [1, 1, 0]
    assert {one.late_at for one in GroupVerdict.select()} == {NOW + 96 * HOUR}
