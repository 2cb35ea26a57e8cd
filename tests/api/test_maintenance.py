"""Plans of maintenance, sizes and previews of retentions, for programs."""

from datetime import timedelta

import pytest

from rm.store import maintenance as store
from rm.store.models import Host, Repository, RepositoryDay, Snapshot, SnapshotListing, SourceGroup
from tests import cast
from tests.cast import NOW

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def place(bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    Host.update(connected_at=NOW, last_seen_at=NOW, restic_version="0.14.0").execute()
    Repository.update(restic_repository_id="ab" * 32).execute()
    return Repository.get().id


def put(client, path, body):
    return client.put(f"/api/v1{path}", json=body, headers=SAME_ORIGIN)


def post(client, path, body=None):
    return client.post(f"/api/v1{path}", json=body or {}, headers=SAME_ORIGIN)


def test_each_kind_is_told_with_its_plan_and_what_comes_next(charlie, place):
    items = charlie.get(f"/api/v1/repositories/{place}/maintenance").json["items"]

    prune = next(item for item in items if item["kind"] == "prune")
    assert (prune["every_hours"], prune["box_minutes"], prune["last_outcome"]) == (168, 240, None)
    assert prune["next"] == {"code": "not_due", "text": "is due", "at": "2026-11-30T12:00:00.000000Z"}


def test_a_plan_is_changed_in_part_by_who_may(alice, bob, place):
    path = f"/repositories/{place}/maintenance/check"

    assert put(bob, path, {"parts": 4}).status_code == 403
    answer = put(alice, path, {"parts": 4, "is_enabled": False})

    assert (answer.json["parts"], answer.json["every_hours"], answer.json["next"]["code"]) == (4, 168, "off")
    assert store.get(place, "check").parts == 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"parts": 300}, "parts"),
        ({"parts": "4"}, "parts"),
        ({"is_enabled": 1}, "is_enabled"),
        ({"timezone": 7}, "timezone"),
    ],
)
def test_a_wrong_plan_names_the_field(alice, place, body, field):
    answer = put(alice, f"/repositories/{place}/maintenance/check", body)
    assert answer.status_code == 422, answer.json

    assert (answer.status_code, list(answer.json["error"]["fields"])) == (422, [field])


def test_what_does_not_exist_is_not_found(alice, place):
    assert put(alice, f"/repositories/{place}/maintenance/backup", {}).status_code == 404
    assert put(alice, "/repositories/nowhere/maintenance/check", {}).status_code == 404
    assert alice.get("/api/v1/repositories/nowhere/maintenance").status_code == 404
    assert alice.get("/api/v1/repositories/nowhere/sizes").status_code == 404


def test_one_kind_is_run_at_once(bob, charlie, place):
    path = f"/repositories/{place}/maintenance/prune/run"

    assert post(charlie, path).status_code == 403
    answer = post(bob, path)

    assert answer.status_code == 202
    assert [job["kind"] for job in answer.json["items"]] == ["prune"]
    assert post(bob, f"/repositories/{place}/maintenance/forget/run").status_code == 409


def test_sizes_are_told_by_day(charlie, place):
    for back in (0, 40):
        day = (NOW - timedelta(days=back)).strftime("%Y-%m-%d")
        RepositoryDay.create(repository=place, day=day, total_bytes=back, snapshot_count=1)

    path = f"/api/v1/repositories/{place}/sizes"
    assert [row["total_bytes"] for row in charlie.get(path).json["items"]] == [0]
    assert [row["total_bytes"] for row in charlie.get(f"{path}?days=90").json["items"]] == [40, 0]
    assert charlie.get(f"{path}?days=9999").status_code == 422


def test_a_retention_is_previewed_and_nothing_is_changed(bob, charlie, place, web1):
    group = SourceGroup.get()
    for back in range(4):
        Snapshot.create(
            repository=place, id=f"{back}" * 64, time=NOW - timedelta(days=back), hostname="web1", tags=["files"],
            listing_id="1",
        )  # fmt: skip
    SnapshotListing.create(repository=place, listing_id="1", taken_at=NOW, host_id=web1.id, total=4)
    path = f"/hosts/{web1.id}/source-groups/{group.id}/retention-preview"

    found = post(bob, path, {"retention": {"keep_last": 1}}).json

    assert [one["reasons"] for one in found["kept"]] == [["last snapshot"]]
    assert [one["id"][0] for one in found["removed"]] == ["1", "2", "3"]
    assert (found["needs_typed_name"], found["is_stale"]) == (True, False)
    assert SourceGroup.get().retention == {}
    assert post(bob, path, {"retention": {"keep_last": 0}}).status_code == 422
    assert post(bob, path, {"retention": [1]}).status_code == 422
    assert post(charlie, path).status_code == 403
