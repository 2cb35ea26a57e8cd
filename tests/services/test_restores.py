"""Restores as the services see them, past all pages."""

from datetime import timedelta

import pytest

from rm.domain import dispatch
from rm.errors import Conflict, Forbidden, Invalid, NotFound
from rm.services import jobs, restore_picks, restores
from rm.services.restores import Wish
from rm.store.models import Host, Job, Repository, RestorePick, Snapshot
from tests import cast, snapshots
from tests.cast import ALICE, BOB, NOW
from tests.snapshots import ID, OLDER_ID


@pytest.fixture
def repository_id(bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    found = cast.host_row(web1).repository_id
    snapshots.able(web1.id)
    snapshots.add(found, host_id=web1.id)
    return found


def order(bus, host, wish, actor=BOB):
    return restores.order(bus, wish, host_id=host.id, actor=actor, now=NOW)


def test_a_restore_reaches_the_agent_with_all_that_it_needs(bus, web1, repository_id):
    job = order(bus, web1, Wish(ID, paths=("/etc/a\nb",), target="monday"))

    [sent] = jobs.next_orders(host_id=web1.id, now=NOW, bus=bus)
    assert (sent.job_id, sent.kind, sent.repository_id) == (job.id, "restore", repository_id)
    assert sent.parameters == {
        "snapshot_id": ID, "paths": ["/etc/a\nb"], "target": "/var/lib/rm-agent/restore/monday", "in_place": False,
    }  # fmt: skip


def test_a_prune_waits_until_the_restore_has_read(bus, web1, repository_id):
    order(bus, web1, Wish(ID))
    jobs.next_orders(host_id=web1.id, now=NOW, bus=bus)
    other = cast.add_host(bus, "db1")
    Host.update(repository=repository_id, connected_at=NOW).execute()
    prune = jobs.order(bus, host_id=other.id, kind="prune", actor=ALICE, now=NOW)

    assert jobs.next_orders(host_id=other.id, now=NOW, bus=bus) == []
    assert "waits for the restore of web1" in Job.get_by_id(prune.id).waits_for
    assert dispatch.conflicts("restore", "forget")


@pytest.mark.parametrize(
    ("change", "code"),
    [({"features": ["browse"]}, "agent_too_old"), ({"revoked_at": NOW}, "host_revoked"),
     ({"repository": None}, "no_repository")],
)  # fmt: skip
def test_a_host_that_cannot_is_refused(bus, web1, repository_id, change, code):
    Host.update(change).execute()

    with pytest.raises(Conflict) as refused:
        order(bus, web1, Wish(ID))
    assert refused.value.code == code


def test_nothing_is_restored_from_a_place_where_another_repository_is_now(bus, web1, repository_id):
    Repository.update(restic_id_seen="ee" * 32).execute()

    with pytest.raises(Conflict, match="Another repository"):
        order(bus, web1, Wish(ID))


def test_a_snapshot_of_another_repository_is_not_found(bus, vault, web1, db1, repository_id):
    cast.give_repository(bus, vault, db1)
    snapshots.able(db1.id)

    with pytest.raises(NotFound):
        order(bus, db1, Wish(ID))


def test_in_place_needs_the_hosts_consent_the_role_and_the_name(bus, web1, repository_id):
    wish = Wish(ID, is_in_place=True, typed_name="web1", target="ignored")
    with pytest.raises(Conflict):
        order(bus, web1, wish, ALICE)
    snapshots.able(web1.id, allows_restore_in_place=True)
    with pytest.raises(Forbidden):
        order(bus, web1, wish, BOB)
    with pytest.raises(Invalid):
        order(bus, web1, Wish(ID, is_in_place=True, typed_name="WEB1"), ALICE)

    assert order(bus, web1, wish, ALICE).parameters["target"] == ""


@pytest.mark.parametrize("paths", [("etc",), ("/a/../b",), ("/a//b",), ("/nul\0",), ("/" + "x" * 9000,)])
def test_what_is_no_path_is_refused(bus, web1, repository_id, paths):
    with pytest.raises(Invalid):
        order(bus, web1, Wish(ID, paths=paths))


def test_the_root_is_everything(bus, web1, repository_id):
    assert order(bus, web1, Wish(ID, paths=("/etc", "/"))).parameters["paths"] == []


def test_an_order_never_grows_beyond_what_a_frame_can_carry(bus, web1, repository_id):
    with pytest.raises(Invalid, match="too long together"):
        order(bus, web1, Wish(ID, paths=tuple(f"/{number:04}{'x' * 3000}" for number in range(200))))


def test_comparing_needs_an_agent_that_can(bus, web1, repository_id):
    snapshots.able(web1.id, features=["browse"])

    with pytest.raises(Conflict):
        restores.order_diff(bus, host_id=web1.id, snapshot_ids=[ID, OLDER_ID], actor=BOB, now=NOW)


def test_only_the_picks_of_the_last_five_snapshots_are_kept(bus, web1, repository_id):
    for number in range(7):
        snapshot_id = f"{number:02}" * 32
        Snapshot.create(repository=repository_id, id=snapshot_id, time=NOW, hostname="web1", listing_id="1")
        restore_picks.change(
            user_id="bob", repository_id=repository_id, snapshot_id=snapshot_id, add={"/etc": True}, remove=[],
            now=NOW + timedelta(minutes=number),
        )  # fmt: skip

    assert sorted(pick.snapshot_id[:2] for pick in RestorePick.select()) == ["02", "03", "04", "05", "06"]
