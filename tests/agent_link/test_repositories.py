"""Questions about repositories, lists of snapshots and figures, over a connection."""

import threading

from rm.errors import HostOffline
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    BrowseResult,
    RepositoryStats,
    Snapshot,
    SnapshotsReport,
)
from rm.store.models import Repository
from rm.store.models import Snapshot as SnapshotRow
from tests.agent_link.conftest import WAIT
from tests.agent_link.reporting import AT, try_repository


def test_a_repository_is_tried_on_its_host(connect, bus, parts, web1, group):
    ws = connect(web1)
    results = []
    asking = threading.Thread(target=lambda: results.append(try_repository(bus, parts, web1)))
    asking.start()
    question = ws.wait_for("command.browse")
    ws.say(
        BrowseResult(request_id=question.request_id, ok=True, message="It opens.", data={"restic_repository_id": "abc"})
    )
    asking.join(WAIT)

    assert (results[0].ok, Repository.get().test_ok, Repository.get().restic_repository_id) == (True, True, "abc")


def test_a_question_fails_at_once_when_the_connection_ends(connect, bus, parts, web1, group):
    ws = connect(web1)
    failures = []

    def ask():
        try:
            try_repository(bus, parts, web1)
        except HostOffline as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    ws.wait_for("command.browse")
    ws.hang_up()
    asking.join(WAIT)

    assert [error.code for error in failures] == ["host_offline"]


def test_a_listing_in_parts_replaces_the_one_before(connect, web1, group):
    ws = connect(web1)
    repository = Repository.get().id

    def listing(listing_id, part, is_last, *ids):
        report = SnapshotsReport(
            repository_id=repository,
            listing_id=listing_id,
            taken_at=AT,
            total=len(ids),
            part=part,
            is_last=is_last,
            items=[Snapshot(id=one, time=AT, hostname="web1") for one in ids],
        )
        ws.wait_for("ack", id=ws.say(report))

    listing(new_ulid(), 0, True, "old", "kept")
    second = new_ulid()
    listing(second, 0, False, "kept")
    between = {row.id for row in SnapshotRow.select()}
    listing(second, 1, True, "new")

    assert between == {"old", "kept"}
    assert {row.id for row in SnapshotRow.select()} == {"kept", "new"}


def test_stats_of_a_repository_that_is_not_the_hosts_are_refused(connect, db1, web1, group):
    ws = connect(db1)

    report = RepositoryStats(repository_id=Repository.get().id, total_bytes=1)

    assert ws.wait_for("error", id=ws.say(report)).code == "conflict"
    assert Repository.get().total_bytes is None
