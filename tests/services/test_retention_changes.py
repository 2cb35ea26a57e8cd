"""What a retention would do to the snapshots that are there, and when saving it wants the group's name."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.errors import Invalid
from rm.services import repository_hosts, repository_identity, retention_changes, snapshots, source_groups
from rm.services.maintenance_outlook import outlook
from rm.services.schedule_outlook import hints_of_groups
from rm.services.source_group_forms import SourceGroupForm, form_of
from rm.shared import ids, instants
from rm.shared.protocol import Snapshot as SnapshotItem
from rm.shared.protocol import SnapshotsReport
from rm.store.models import Host, Repository, Snapshot, SnapshotListing, SourceGroup
from tests import cast
from tests.cast import ALICE, NOW

DAY = timedelta(days=1)


@pytest.fixture
def host(bus, vault, web1):
    """web1 with a group "files" of ten daily snapshots, beside another group's and another host's."""
    cast.give_repository(bus, vault, web1)
    for hostname, tags, count in (("web1", ["files", "more"], 10), ("web1", ["other"], 3), ("db1", ["files"], 3)):
        for back in range(count):
            Snapshot.create(
                repository=Host.get_by_id(web1.id).repository_id, id=f"{hostname} {tags[0]} {back}",
                time=NOW - back * DAY, hostname=hostname, tags=tags, data_added=100, listing_id="1",
                utc_offset_minutes=0,
            )  # fmt: skip
    Repository.update(restic_repository_id="a" * 64).execute()
    found = Host.get_by_id(web1.id)
    SnapshotListing.create(repository=found.repository_id, listing_id="1", taken_at=NOW, host_id=web1.id, total=16)
    return found


def preview(host, retention, now=NOW):
    return retention_changes.preview(host=host, group_name="files", retention=retention, now=now)


def needs(host, retention, before=None):
    return retention_changes.needs_confirmation(
        host=host, group_name="files", before=before or {}, retention=retention, now=NOW
    )


def test_only_the_groups_own_snapshots_are_judged(host):
    found = preview(host, {"keep_last": 4})

    assert [fate.snapshot.id for fate in found.kept] == [f"web1 files {back}" for back in range(4)]
    assert len(found.removed) == 6
    assert found.added_bytes_removed == 600
    assert found.words == "Keeps the last 4."


def test_a_size_that_is_not_known_of_each_is_not_told(host):
    Snapshot.update(data_added=None).where(Snapshot.id == "web1 files 9").execute()

    assert preview(host, {"keep_last": 4}).added_bytes_removed is None


def test_the_preview_goes_by_the_restic_on_the_host(host):
    old, new = replace_version(host, "0.14.0"), replace_version(host, "0.19.1")

    assert len(preview(old, {"keep_yearly": 5}).kept) == 1
    assert len(preview(new, {"keep_yearly": 5}).kept) == 2


def replace_version(host, version):
    found = Host.get_by_id(host.id)
    found.restic_version = version
    return found


def test_a_list_from_before_the_last_backup_or_of_yesterday_is_stale(host):
    assert not preview(host, {}).is_stale
    assert preview(host, {}, now=NOW + 2 * DAY).is_stale
    host.last_good_began_at, host.last_good_at = NOW + timedelta(seconds=1), NOW + timedelta(minutes=1)
    assert preview(host, {}).is_stale


def test_the_list_that_a_backup_made_itself_is_fresh_however_long_its_hooks_took_after_that(host):
    host.last_good_began_at, host.last_good_at = NOW - timedelta(minutes=1), NOW + timedelta(hours=1)

    assert not preview(host, {}, now=NOW + timedelta(hours=2)).is_stale


def test_only_more_than_half_wants_the_name_typed(host):
    assert needs(host, {"keep_last": 5}) is None
    assert needs(host, {"keep_last": 4}) == "This would remove 6 of 10 snapshots. Type files exactly if you mean it."
    assert needs(host, {"keep_last": 4, "keep_daily": 0}, before={"keep_last": 4}) is None
    assert needs(host, {"keep_last": -4}) is None


def test_a_group_without_snapshots_has_nothing_to_confirm(host):
    found = retention_changes.needs_confirmation(
        host=host, group_name="new", before={}, retention={"keep_last": 1}, now=NOW
    )

    assert found is None


@pytest.mark.parametrize("typed", ["", "file", "FILES"])
def test_saving_it_is_refused_until_the_name_is_typed(bus, vault, host, typed):
    group = SourceGroup.get()
    form = replace(form_of(group), retention={"keep_last": 2})

    with pytest.raises(Invalid) as refused:
        source_groups.save(
            bus, vault, host_id=host.id, group_id=group.id, form=form, typed_name=typed, actor=ALICE, now=NOW
        )
    assert list(refused.value.fields) == ["typed_name"]
    source_groups.save(
        bus, vault, host_id=host.id, group_id=group.id, form=form, typed_name="files", actor=ALICE, now=NOW
    )

    assert SourceGroup.get().retention == {"keep_last": 2}


def test_a_new_group_asks_too_when_snapshots_carry_its_name_already(bus, vault, host):
    Snapshot.update(tags=["old"]).where(Snapshot.id.contains("other")).execute()
    form = SourceGroupForm(name="old", includes=["/old"], retention={"keep_last": 1})

    with pytest.raises(Invalid) as refused:
        source_groups.save(bus, vault, host_id=host.id, group_id=None, form=form, actor=ALICE, now=NOW)

    assert refused.value.fields["typed_name"].startswith("This would remove 2 of 3 snapshots.")


# ---- what nobody could look at ----


def put(bus, vault, host, retention, typed_name="", group_id=None, **more):
    form = replace(
        form_of(SourceGroup.get_by_id(group_id)) if group_id else SourceGroupForm(), retention=retention, **more
    )
    return source_groups.save(
        bus, vault, host_id=host.id, group_id=group_id, form=form, typed_name=typed_name, actor=ALICE, now=NOW
    )


def list_again(bus, host, count, now=NOW, name="files"):
    """A fresh list of the host's repository that holds so many snapshots of the group, a day apart."""
    listing_id = ids.new_ulid()
    items = [
        SnapshotItem(id=f"{n:064x}", time=instants.to_text(NOW - n * DAY), hostname="web1", tags=[name])
        for n in range(count)
    ]  # fmt: skip
    report = SnapshotsReport(
        repository_id=host.repository_id, listing_id=listing_id, taken_at=instants.to_text(now), items=items,
        is_last=True, total=count,
    )  # fmt: skip
    snapshots.keep_report(bus, host_id=host.id, report=report, now=now)


def hold():
    return SourceGroup.get(SourceGroup.name == "files").retention_hold


def forget_of(host, now=NOW + 2 * DAY):
    """What the plan says of the repository's forget."""
    return next(one for one in outlook(host.repository_id, now=now) if one.policy.kind == "forget")


@pytest.mark.parametrize("how", ["no list", "an old list"])
def test_a_retention_that_no_fresh_list_could_be_asked_about_waits_for_one_before_anything_goes(bus, vault, host, how):
    if how == "no list":
        SnapshotListing.delete().execute()
        Snapshot.delete().execute()
    else:
        SnapshotListing.update(taken_at=NOW - 2 * DAY).execute()
    put(bus, vault, host, {"keep_last": 8}, group_id=SourceGroup.get().id)

    waiting = forget_of(host)
    list_again(bus, host, 10)

    assert (waiting.decision.code, waiting.groups) == ("blocked", 0)
    assert "before a fresh list of the snapshots shows what would go" in waiting.decision.text
    assert (hold(), forget_of(host).groups) == ("", 1)


def test_it_goes_on_waiting_where_the_fresh_list_shows_that_more_than_half_would_go_until_the_name_is_typed(
    bus, vault, host
):
    SnapshotListing.delete().execute()
    Snapshot.delete().execute()
    group = put(bus, vault, host, {"keep_last": 2}, group_id=SourceGroup.get().id)
    list_again(bus, host, 10)

    waiting = forget_of(host)
    assert "files on web1 waits: its retention would remove 8 of the 10 snapshots" in waiting.decision.text
    with pytest.raises(Invalid) as refused:
        put(bus, vault, host, {"keep_last": 2}, group_id=group.id)
    assert list(refused.value.fields) == ["typed_name"]
    assert any("would remove 8 of the 10" in hint for hint in hints_of_groups(host.id, now=NOW)[group.id])
    put(bus, vault, host, {"keep_last": 2}, "files", group_id=group.id)

    assert (hold(), forget_of(host).groups) == ("", 1)


def test_a_change_of_something_else_keeps_it_waiting(bus, vault, host):
    SnapshotListing.delete().execute()
    group = put(bus, vault, host, {"keep_last": 8}, group_id=SourceGroup.get().id)

    put(bus, vault, host, {"keep_last": 8}, group_id=group.id, includes=["/other"])

    assert hold() == retention_changes.NOT_LISTED


def test_a_host_that_is_given_a_filled_repository_removes_nothing_much_there_without_being_asked(bus, vault, host, db1):
    put(bus, vault, host, {"keep_last": 2}, "files", group_id=SourceGroup.get().id)
    filled = host.repository_id
    for repository_id in (None, filled):
        Host.update(repository=None).where(Host.id == host.id).execute()
        if repository_id:
            repository_hosts.use_existing(
                bus, host_id=host.id, repository_id=filled, actor=ALICE, now=NOW
            )  # fmt: skip

    assert "would remove 8 of the 10 snapshots" in hold()
    assert forget_of(host).decision.code == "blocked"


def test_another_repository_at_the_place_has_every_retention_looked_at_anew(bus, vault, host):
    put(bus, vault, host, {"keep_last": 8}, group_id=SourceGroup.get().id)
    Repository.update(restic_repository_id="a" * 64, restic_id_seen="b" * 64).execute()

    repository_identity.accept(bus, repository_id=host.repository_id, typed_name="store of web1", actor=ALICE, now=NOW)

    assert hold() == retention_changes.NOT_LISTED


def test_a_group_that_keeps_everything_waits_for_nothing(bus, vault, host):
    SnapshotListing.delete().execute()

    put(bus, vault, host, {}, group_id=SourceGroup.get().id)

    assert hold() == ""
