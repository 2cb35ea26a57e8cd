"""What becomes of listings, also when two hosts list one repository at once."""

from datetime import timedelta

import pytest

from rm.errors import NotFound
from rm.events import SnapshotsChanged
from rm.services import repository_hosts, snapshots
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import Snapshot as Listed
from rm.shared.protocol import SnapshotsReport
from rm.store import snapshots as store
from rm.store.models import Repository, Snapshot, SnapshotListing
from tests import cast
from tests.cast import ALICE, NOW


@pytest.fixture
def repository_id(bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    return cast.host_row(web1).repository_id


@pytest.fixture
def shared(bus, repository_id, db1):
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    return db1


def listed(*names, **more):
    return [
        Listed(id=name * 32, time=instants.to_text(NOW - timedelta(days=1)), hostname="web1", paths=["/etc"], **more)
        for name in names
    ]


def part(repository_id, listing_id, *names, taken_at=NOW, number=0, is_last=True, total=None, **more):
    return SnapshotsReport(
        repository_id=repository_id, listing_id=listing_id, taken_at=instants.to_text(taken_at), part=number,
        is_last=is_last, total=len(names) if total is None else total, items=listed(*names, **more),
    )  # fmt: skip


def keep(bus, host, report, now=NOW):
    snapshots.keep_report(bus, host_id=host.id, report=report, now=now)


def known():
    return sorted(snapshot.id[:2] for snapshot in Snapshot.select())


def test_a_snapshot_that_the_last_listing_no_longer_has_is_gone_at_once(bus, web1, repository_id):
    keep(bus, web1, part(repository_id, new_ulid(), "aa", "bb"))
    keep(bus, web1, part(repository_id, new_ulid(), "bb", "cc", taken_at=NOW + timedelta(hours=1)), now=NOW)

    assert known() == ["bb", "cc"]
    with pytest.raises(NotFound):
        store.get(repository_id, "aa" * 32)


def test_parts_are_kept_as_they_come_and_the_last_one_is_told(bus, web1, repository_id):
    listing_id = new_ulid()
    keep(bus, web1, part(repository_id, new_ulid(), "00"))

    with bus.subscribe() as listener:
        keep(bus, web1, part(repository_id, listing_id, "aa", is_last=False, total=2))
        early = listener.take(timeout=0)
        keep(bus, web1, part(repository_id, listing_id, "bb", number=1, total=2))
        told = listener.take(timeout=0)

    assert known() == ["aa", "bb"]
    assert early == []
    assert told == [SnapshotsChanged(repository_id)]
    assert Repository.get_by_id(repository_id).snapshot_count == 2
    assert SnapshotListing.get().taken_at == NOW


def test_any_host_of_the_repository_may_list_and_no_other(bus, vault, web1, repository_id, shared):
    keep(bus, shared, part(repository_id, new_ulid(), "aa"))
    stranger = cast.add_host(bus, "mail1")
    cast.give_repository(bus, vault, stranger)

    with pytest.raises(NotFound):
        keep(bus, stranger, part(repository_id, new_ulid(), "bb"))
    assert known() == ["aa"]


@pytest.mark.parametrize("is_older_first", [True, False])
def test_two_hosts_that_list_at_once_lose_nothing(bus, web1, shared, repository_id, is_older_first):
    first, second = sorted((new_ulid(), new_ulid()))
    older, newer = (first, second) if is_older_first else (second, first)  # a clock may be ahead
    keep(bus, web1, part(repository_id, "0" * 26, "aa", "zz"))
    later = NOW + timedelta(seconds=1)

    keep(bus, shared, part(repository_id, newer, "aa", "bb", taken_at=later, is_last=False), now=later)
    keep(bus, web1, part(repository_id, older, "aa", "bb", is_last=False), now=later)
    keep(bus, shared, part(repository_id, newer, "cc", taken_at=later, number=1, total=3), now=later)
    keep(bus, web1, part(repository_id, older, number=1, total=2), now=later)

    assert known() == ["aa", "bb", "cc"]
    assert SnapshotListing.get().listing_id == newer


def test_an_older_listing_that_comes_late_brings_nothing_back(bus, web1, repository_id):
    older, newer = sorted((new_ulid(), new_ulid()))
    later = NOW + timedelta(minutes=1)
    keep(bus, web1, part(repository_id, older, "aa", is_last=False), now=later)
    keep(bus, web1, part(repository_id, newer, "bb", taken_at=later), now=later)
    keep(bus, web1, part(repository_id, older, "cc", number=1), now=later)

    assert known() == ["bb"]


def test_the_offset_of_a_snapshots_time_is_kept_for_retention(bus, web1, repository_id):
    keep(bus, web1, part(repository_id, new_ulid(), "aa", utc_offset_minutes=-90))

    assert Snapshot.get().utc_offset_minutes == -90


def test_a_listing_of_five_thousand_is_taken_part_by_part_without_doubles(bus, web1, repository_id):
    for listing_id in sorted((new_ulid(), new_ulid())):
        for number in range(25):
            names = [f"{number * 200 + each:04x}" for each in range(200)]
            report = part(repository_id, listing_id, number=number, is_last=number == 24, total=5000)
            items = [
                Listed(id=name * 16, time=instants.to_text(NOW), hostname="web1", paths=["/etc"], tags=["files"])
                for name in names
            ]
            keep(bus, web1, SnapshotsReport(**{**vars(report), "items": items}))

    assert Snapshot.select().count() == 5000
    assert store.list_page(store.Wanted(repository_id, tag="files"), limit=50, offset=4990)[1] == 5000
