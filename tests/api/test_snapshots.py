"""/api/v1: snapshots listed, looked into, restored from and compared."""

import pytest

from rm.store.models import Job, Snapshot
from tests import cast, snapshots
from tests.snapshots import ID, OLDER_ID, SnapshotAgents


@pytest.fixture
def path(bus, vault, parts, web1):
    cast.give_repository(bus, vault, web1)
    snapshots.able(web1.id)
    snapshots.add(cast.host_row(web1).repository_id, host_id=web1.id)
    parts.agents = SnapshotAgents(web1.id)
    return f"/api/v1/hosts/{web1.id}"


def test_snapshots_are_listed_in_pages_the_newest_first(charlie, path):
    first = charlie.get(f"{path}/snapshots?limit=1").json
    second = charlie.get(f"{path}/snapshots?limit=1&offset={first['next']}").json

    assert [first["items"][0]["id"], second["items"][0]["id"]] == [ID, OLDER_ID]
    assert (first["total"], second["next"], first["listed_at"]) == (2, None, "2026-11-23T12:00:00.000000Z")


def test_snapshots_are_narrowed_by_text_and_tag(charlie, path):
    Snapshot.update(tags=["mail"], paths=["/home"]).where(Snapshot.id == ID).execute()

    assert [one["id"] for one in charlie.get(f"{path}/snapshots?tag=mail").json["items"]] == [ID]
    assert [one["id"] for one in charlie.get(f"{path}/snapshots?q=/etc").json["items"]] == [OLDER_ID]


def test_a_folder_and_a_search_are_answered_by_the_host(bob, path, web1):
    folder = bob.get(f"{path}/snapshots/{ID}/entries", query_string={"path": "/srv", "limit": 3}).json
    found = bob.get(f"{path}/snapshots/{ID}/search?text=hosts").json

    assert [one["name"] for one in folder["items"]] == list(snapshots.ODD_NAMES[:3])
    assert (folder["next"], folder["total"]) == (3, len(snapshots.ODD_NAMES))
    assert folder["through_host_id"] == web1.id
    assert [one["path"] for one in found["items"]] == ["/etc/hosts"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({"path": "/nowhere"}, 404, "path_gone"), ({"path": "etc"}, 422, "invalid"), ({"path": "/a/../b"}, 422, "invalid"),
     ({"limit": "501"}, 422, "invalid")],
)  # fmt: skip
def test_what_cannot_be_answered_has_the_one_shape_of_errors(bob, path, query, status, code):
    answer = bob.get(f"{path}/snapshots/{ID}/entries", query_string=query)

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert set(answer.json["error"]) >= {"code", "message", "help"}


def test_nobody_to_ask_is_a_conflict(bob, path, parts):
    parts.agents.connected = set()

    answer = bob.get(f"{path}/snapshots/{ID}/entries")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "nobody_answers")


def test_a_restore_is_ordered_with_paths_that_stay_exact(bob, path, web1):
    paths = [f"/srv/{name}" for name in snapshots.ODD_NAMES]

    answer = bob.post(f"{path}/restores", json={"snapshot_id": ID, "paths": paths, "target": "monday"})

    job = Job.get_by_id(answer.json["job_id"])
    assert answer.status_code == 202
    assert (job.host_id, job.kind) == (web1.id, "restore")
    assert job.parameters["paths"] == paths
    assert job.parameters["target"] == "/var/lib/rm-agent/restore/monday"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"snapshot_id": ID}, 422, "invalid"),
        ({"snapshot_id": ID, "paths": ["/etc"], "everything": True}, 422, "invalid"),
        ({"snapshot_id": "ff" * 32, "everything": True}, 404, "snapshot_gone"),
        ({"snapshot_id": ID, "paths": ["etc"]}, 422, "invalid"),
        ({"snapshot_id": ID, "paths": [f"/{number}" for number in range(201)]}, 422, "invalid"),
        ({"snapshot_id": ID, "everything": True, "target": "/etc"}, 422, "invalid"),
        ({"snapshot_id": ID, "everything": True, "in_place": "yes"}, 422, "invalid"),
        ({"snapshot_id": ID, "everything": True, "in_place": True, "typed_name": "web1"}, 409, "in_place_refused"),
    ],
)
def test_a_restore_that_cannot_be_is_refused(alice, path, body, status, code):
    answer = alice.post(f"{path}/restores", json=body)

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert Job.select().count() == 0


def test_in_place_is_for_administrators_who_type_the_hosts_name(alice, bob, path, web1):
    snapshots.able(web1.id, allows_restore_in_place=True)
    body = {"snapshot_id": ID, "everything": True, "in_place": True}

    assert bob.post(f"{path}/restores", json=body | {"typed_name": "web1"}).status_code == 403
    assert alice.post(f"{path}/restores", json=body).status_code == 422
    assert alice.post(f"{path}/restores", json=body | {"typed_name": "web1"}).status_code == 202


def test_two_snapshots_are_compared(bob, path):
    answer = bob.post(f"{path}/diffs", json={"snapshot_a": ID, "snapshot_b": OLDER_ID})

    assert answer.status_code == 202
    assert Job.get_by_id(answer.json["job_id"]).parameters == {"snapshot_a": OLDER_ID, "snapshot_b": ID}


def test_a_viewer_lists_and_does_nothing_else(charlie, path):
    assert charlie.get(f"{path}/snapshots").status_code == 200
    assert charlie.get(f"{path}/snapshots/{ID}/entries").status_code == 403
    assert charlie.get(f"{path}/snapshots/{ID}/search?text=x").status_code == 403
    assert charlie.post(f"{path}/restores", json={}).status_code == 403
    assert charlie.post(f"{path}/diffs", json={}).status_code == 403
