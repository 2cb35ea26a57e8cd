"""The set that an agent is sent: everything, in one message, with its version."""

from dataclasses import replace

import pytest

from rm.errors import Invalid
from rm.events import HostScheduleChanged
from rm.services import repositories, repository_hosts, schedule_sets, schedules, source_groups
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm
from rm.shared import protocol
from rm.shared.protocol import RepositoryStats
from rm.store.models import Host, Schedule, SourceGroup
from tests import cast
from tests.cast import ALICE, BOB, NOW


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


def plan(bus, vault, host, *groups, **changes):
    form = replace(ScheduleForm(name="nightly", cron="15 3 * * *", jitter_seconds=600, groups=list(groups)), **changes)
    return schedules.save(bus, vault, host_id=host.id, schedule_id=None, form=form, actor=BOB, now=NOW)


def test_the_whole_set_is_sent_as_the_protocol_has_it(bus, vault, web1, group):
    schedule = plan(bus, vault, web1, group)

    wanted = schedule_sets.wanted(vault, host_id=web1.id)
    read = protocol.decode(protocol.encode(wanted), protocol.FROM_SERVER).payload

    assert read == wanted
    assert wanted.version == cast.host_row(web1).schedule_version
    [one] = wanted.schedules
    assert (one.id, one.cron, one.jitter_seconds, one.source_groups) == (schedule.id, "15 3 * * *", 600, ["files"])
    assert wanted.groups[0].repository_id == cast.host_row(web1).repository_id


def test_a_change_is_told_after_the_commit(bus, vault, web1, group):
    heard = []
    bus.on_event(heard.append)

    plan(bus, vault, web1, group)

    assert HostScheduleChanged(web1.id) in heard


def test_a_schedule_without_groups_is_not_sent(bus, vault, web1, group):
    plan(bus, vault, web1, group)
    source_groups.remove(bus, host_id=web1.id, group_id=group, actor=BOB, now=NOW)

    assert schedule_sets.wanted(vault, host_id=web1.id).schedules == []


def test_nothing_is_scheduled_on_a_host_without_repository(bus, vault, web1, group):
    plan(bus, vault, web1, group)
    repository_id = cast.host_row(web1).repository_id
    before = cast.host_row(web1).schedule_version

    repository_hosts.unassign(bus, repository_id=repository_id, host_id=web1.id, actor=ALICE, now=NOW)
    without = schedule_sets.wanted(vault, host_id=web1.id)
    repository_hosts.use_existing(bus, host_id=web1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    again = schedule_sets.wanted(vault, host_id=web1.id)

    assert (without.version, without.schedules, without.groups[0].repository_id) == (before + 1, [], "")
    assert (again.version, len(again.schedules), again.groups[0].repository_id) == (before + 2, 1, repository_id)


def test_an_ordered_backup_carries_no_shell_text(bus, vault, web1, group):
    Host.update(hooks_policy="server").where(Host.id == web1.id).execute()
    form = SourceGroupForm(name="files", includes=["/srv"], pre_shell="mount /srv")
    saved = source_groups.save(bus, vault, host_id=web1.id, group_id=group, form=form, actor=ALICE, now=NOW)

    assert schedule_sets.spec(saved, repository=None).pre_shell == ""
    assert schedule_sets.wanted(vault, host_id=web1.id).groups[0].pre_shell == "mount /srv"


def test_a_set_that_would_not_fit_into_one_message_is_refused_with_a_sentence(bus, vault, web1, group):
    full = SourceGroupForm(name="full", includes=[f"/{n:04}{'x' * 4000}" for n in range(200)])
    source_groups.save(bus, vault, host_id=web1.id, group_id=None, form=full, actor=BOB, now=NOW)
    before = cast.host_row(web1).schedule_version

    with pytest.raises(Invalid) as caught:
        source_groups.save(
            bus, vault, host_id=web1.id, group_id=None, form=replace(full, name="more"), actor=BOB, now=NOW
        )

    assert "900 kB" in caught.value.fields["includes"]
    assert SourceGroup.select().where(SourceGroup.name == "more").count() == 0
    assert cast.host_row(web1).schedule_version == before


def test_schedules_count_towards_the_size_too(bus, vault, web1, group):
    full = SourceGroupForm(name="full", includes=[f"/{n:04}{'x' * 4000}" for n in range(200)])
    source_groups.save(bus, vault, host_id=web1.id, group_id=None, form=full, actor=BOB, now=NOW)
    names = [f"{'ü' * 90}{n}" for n in range(40)]
    ids = [
        source_groups.save(
            bus, vault, host_id=web1.id, group_id=None, form=SourceGroupForm(name=name, includes=["/x"]), actor=BOB,
            now=NOW,
        ).id
        for name in names
    ]  # fmt: skip

    with pytest.raises(Invalid) as caught:
        for number in range(20):
            plan(bus, vault, web1, *ids, name=f"{number}")

    assert list(caught.value.fields) == ["groups"]
    assert 0 < Schedule.select().count() < 20


def test_an_identity_that_is_learned_reaches_every_host_of_the_repository_once(bus, vault, web1, db1, group):
    repository_id = cast.host_row(web1).repository_id
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    before = [cast.host_row(host).schedule_version for host in (web1, db1)]
    stats = RepositoryStats(repository_id=repository_id, restic_repository_id="ab" * 32)

    for _ in range(3):
        repositories.keep_stats(bus, host_id=web1.id, stats=stats, now=NOW)

    assert [cast.host_row(host).schedule_version for host in (web1, db1)] == [version + 1 for version in before]
    assert schedule_sets.wanted(vault, host_id=web1.id).groups[0].restic_repository_id == "ab" * 32
