"""Releases through the API."""

import pytest

from rm.services import releases
from rm.store import releases as stored
from tests.cast import ALICE, NOW
from tests.signing import signed_release

FIRST = signed_release()
SECOND = signed_release(seq=3, version="0.3.0", artifact=b"the next one")


@pytest.fixture
def both(bus, settings, tmp_path):
    for release in (FIRST, SECOND):
        directory = release.write(tmp_path / "release")
        releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)


def test_releases_are_listed_with_the_highest_sequence_first(charlie, both):
    answer = charlie.get("/api/v1/releases")

    assert [one["seq"] for one in answer.json["items"]] == [3, 2]
    assert answer.json["next"] is None
    first = answer.json["items"][1]
    assert (first["id"], first["state"], first["version"]) == (FIRST.manifest_sha256, "imported", "0.2.0")
    assert first["artifacts"][0]["sha256"] == FIRST.artifact_sha256


def test_a_release_is_promoted_by_an_administrator_alone(alice, bob, both):
    path = f"/api/v1/releases/{FIRST.manifest_sha256}/promote"

    assert bob.post(path).status_code == 403
    answer = alice.post(path)

    assert (answer.status_code, answer.json["state"], stored.current().id) == (200, "current", FIRST.manifest_sha256)


def test_an_older_release_needs_force_and_a_reason(alice, both):
    alice.post(f"/api/v1/releases/{SECOND.manifest_sha256}/promote")
    path = f"/api/v1/releases/{FIRST.manifest_sha256}/promote"

    refused = alice.post(path)
    silent = alice.post(path, json={"force": True})
    forced = alice.post(path, json={"force": True, "reason": "0.3.0 eats logs"})

    assert (refused.status_code, refused.json["error"]["code"]) == (409, "older_release")
    assert (silent.status_code, silent.json["error"]["code"]) == (422, "invalid")
    assert (forced.status_code, forced.json["state"]) == (200, "current")


def test_a_release_that_is_not_here_is_not_found(alice, both):
    answer = alice.post("/api/v1/releases/nothing/promote")

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "no_release")
