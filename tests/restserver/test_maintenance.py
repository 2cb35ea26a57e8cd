"""What the server orders to keep a repository in order, carried out by the agent on an append-only rest-server."""

import json
from datetime import datetime, timezone

import pytest

from agent import restic_output
from rm.domain import retention
from rm.domain.retention import Policy, Taken
from rm.shared import instants
from rm.shared.protocol import JobFinished
from tests.restserver.test_append_only import USERS, Place, bare_rig, place, quick_polling, rig, server

__all__ = ["bare_rig", "place", "quick_polling", "rig", "server"]

pytestmark = pytest.mark.restic

RETENTION = {"keep_last": 1, "keep_daily": 2}


def with_maintenance(place: Place) -> None:
    place.configure(
        maintenance_username="keeper", maintenance_secret=USERS["keeper"], maintenance_location=f"rest:{place.deleting}"
    )


def with_snapshots(place: Place) -> None:
    """Five days of web1's documents, and one snapshot each of another group and another host."""
    for day in range(1, 6):
        back_up(place, f"2026-10-0{day} 12:00:00", "web1", "documents")
    back_up(place, "2026-10-01 12:00:00", "web1", "other")
    back_up(place, "2026-10-01 12:00:00", "db1", "documents")


def back_up(place: Place, time: str, host: str, tag: str) -> None:
    place.restic("backup", "--time", time, "--host", host, "--tag", tag, str(place.rig.base / "source"))


def snapshots(place: Place) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(place.restic("snapshots", "--json"))
    return found


def forget(place: Place) -> JobFinished:
    """The order as rm.services.maintenance gives it."""
    return place.run("forget", source_group="documents", hostname="web1", parameters={"retention": RETENTION})


def test_forget_removes_exactly_what_the_preview_says_and_touches_no_other_group_or_host(place: Place) -> None:
    with_maintenance(place)
    with_snapshots(place)
    its_own = [one for one in snapshots(place) if (one["hostname"], one["tags"]) == ("web1", ["documents"])]
    taken = [taken_of(one) for one in its_own]
    said = retention.apply(Policy.of(RETENTION), taken, now=datetime.now(timezone.utc), restic=version(place))

    done = forget(place)

    left = {str(one["id"]) for one in snapshots(place)}
    assert (done.outcome, done.summary["removed"], done.summary["kept"]) == ("succeeded", 3, 2), done
    assert {one.id for one in said.kept} == left & {one.id for one in taken}
    assert len(left) == 2 + 2


def test_forget_then_prune_free_the_space_that_the_everyday_credential_cannot(place: Place) -> None:
    with_maintenance(place)
    with_snapshots(place)

    forgotten, pruned = forget(place), place.run("prune", time_box_seconds=3600)

    assert (forgotten.outcome, pruned.outcome) == ("succeeded", "succeeded"), (forgotten, pruned)
    assert "freed" in pruned.message
    assert not any("may/delete" in str(message.payload) for message in place.rig.server.received)


# Restic 0.14 tries again for three quarters of a minute.
@pytest.mark.parametrize("place", ["newer"], indirect=True)
def test_without_the_maintenance_credential_nothing_is_forgotten_and_it_says_why(place: Place) -> None:
    place.configure()
    with_snapshots(place)

    refused = forget(place)

    assert (refused.outcome, refused.reason) == ("failed", "append_only"), refused
    assert len(snapshots(place)) == 7


def test_a_check_reads_its_part_with_the_everyday_credential(place: Place) -> None:
    place.configure()
    with_snapshots(place)

    checked = place.run("check", parameters={"subset": "2/12"}, time_box_seconds=3600)

    assert (checked.outcome, checked.message) == ("succeeded", "No errors were found; part 2/12 of the data was read.")


def taken_of(one: dict[str, object]) -> Taken:
    """A snapshot as the server knows it once the agent has reported it."""
    text = str(one["time"])
    return Taken(str(one["id"]), instants.from_text(restic_output.instant(text)), restic_output.utc_offset(text))


def version(place: Place) -> tuple[int, int]:
    major, minor = place.restic("version").split()[1].split(".")[:2]
    return int(major), int(minor)
