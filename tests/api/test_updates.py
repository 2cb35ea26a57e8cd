"""Updates of single hosts through the API."""

import pytest

from rm.services import updates
from rm.store.models import Host
from tests import cast
from tests.cast import NOW
from tests.updating import (
    MINUTE,
    SECOND,
    again,
    at_target,
    ends,
    reports,
    says_hello,
    takes_orders,
)


def test_an_operator_updates_a_host_and_asking_again_is_the_same_attempt(bob, online, release):
    first = bob.post(f"/api/v1/hosts/{online.id}/update")
    second = bob.post(f"/api/v1/hosts/{online.id}/update", json={})

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json == second.json and list(first.json) == ["attempt_id"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"agent_seq": 2}, "not_behind"), ({"agent_seq": 3}, "ahead"), ({"is_pinned": True}, "pinned"),
     ({"held_reason": "month end"}, "held"), ({"guard_version": "1"}, "guard_too_old")],
)  # fmt: skip
def test_what_cannot_be_updated_is_a_conflict_with_its_code(bob, online, release, fields, code):
    Host.update(fields).where(Host.id == online.id).execute()

    answer = bob.post(f"/api/v1/hosts/{online.id}/update")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, code)
    assert "web1" in answer.json["error"]["message"]


def test_without_a_release_there_is_nothing_to_update_to(bob, online):
    answer = bob.post(f"/api/v1/hosts/{online.id}/update")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "no_release")


def test_a_host_that_is_not_there_is_not_found(bob, release):
    assert bob.post("/api/v1/hosts/nobody/update").status_code == 404


def test_a_viewer_may_neither_update_nor_roll_back_and_an_operator_may_not_hold(charlie, bob, online, release):
    for path in ("update", "rollback", "hold", "unhold"):
        assert charlie.post(f"/api/v1/hosts/{online.id}/{path}", json={"reason": "x"}).status_code == 403
    for path in ("hold", "unhold"):
        assert bob.post(f"/api/v1/hosts/{online.id}/{path}", json={"reason": "x"}).status_code == 403


def test_force_is_for_administrators_and_wants_a_reason(bus, alice, bob, online, attempt, clock):
    takes_orders(bus, online)
    ends(bus, online, attempt, "rolled_back", phase="trial", reason="boots")
    path = f"/api/v1/hosts/{online.id}/update"

    known = bob.post(path)
    refused = bob.post(path, json={"force": True, "reason": "it was the disk"})
    unsaid = alice.post(path, json={"force": True})
    wrong = alice.post(path, json={"force": "yes"})
    forced = alice.post(path, json={"force": True, "reason": "it was the disk"})

    assert (known.status_code, known.json["error"]["code"]) == (409, "known_bad")
    assert [answer.status_code for answer in (refused, unsaid, wrong, forced)] == [403, 422, 422, 202]


def test_a_job_says_how_its_update_stands(bus, charlie, online, release, attempt):
    takes_orders(bus, online)
    reports(bus, online, attempt, "downloading", percent=40.0, detail="4 of 10 MB")

    job = charlie.get(f"/api/v1/jobs/{attempt.job_id}").json

    assert (job["kind"], job["state"], job["outcome"]) == ("update", "running", None)
    update = job["update"]
    assert (update["state"], update["phase"], update["percent"]) == ("running", "downloading", 40.0)
    assert (update["from"], update["to"]) == ("0.1.0", "0.2.0")
    assert (update["provisional"], update["late"], update["proven"]) == (False, False, False)
    assert update["deadline_at"] == "2026-11-23T12:01:30.000000Z"
    assert (update["now"], update["message"]) == ("web1 is in the phase downloading.", "4 of 10 MB")
    assert "swap" in update["next"]
    assert [event["state"] for event in update["events"]] == ["queued", "dispatched", "running"]


def test_a_provisional_verdict_and_its_correction_are_shown(bus, charlie, online, release, attempt):
    takes_orders(bus, online)
    reports(bus, online, attempt, "swapping")
    updates.sweep(bus, now=NOW + 90 * SECOND)
    guess = charlie.get(f"/api/v1/jobs/{attempt.job_id}").json

    says_hello(bus, online, now=NOW + 3 * MINUTE, **at_target(release))
    known = charlie.get(f"/api/v1/jobs/{attempt.job_id}").json

    assert (guess["outcome"], guess["update"]["provisional"], guess["update"]["reason"]) == ("failed", True, "no_hello")
    assert "corrected" in guess["update"]["next"]
    assert (known["outcome"], known["update"]["provisional"], known["update"]["late"]) == ("succeeded", False, True)
    assert (known["update"]["deadline_at"], known["update"]["proven"]) == (None, True)


def test_another_job_says_nothing_of_updates(bob, bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    job_id = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "init"}).json["job_id"]

    assert "update" not in bob.get(f"/api/v1/jobs/{job_id}").json


def test_an_update_is_not_ordered_as_a_job(bob, online, release):
    assert bob.post(f"/api/v1/hosts/{online.id}/jobs", json={"kind": "update"}).status_code == 422


def test_an_update_is_cancelled_as_any_job(bus, bob, online, attempt):
    answer = bob.post(f"/api/v1/jobs/{attempt.job_id}/cancel")

    assert (answer.status_code, answer.json["outcome"]) == (202, "cancelled")
    assert again(attempt).state == "cancelled"


def test_past_the_fence_cancelling_is_a_conflict(bus, bob, online, attempt):
    takes_orders(bus, online)
    reports(bus, online, attempt, "swapping")

    answer = bob.post(f"/api/v1/jobs/{attempt.job_id}/cancel")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "past_the_fence")


def test_a_rollback_through_the_api(bus, bob, online, release, attempt, clock):
    takes_orders(bus, online)
    reports(bus, online, attempt, "swapping")
    says_hello(bus, online, **at_target(release))
    ends(bus, online, attempt, "committed")
    path = f"/api/v1/hosts/{online.id}/rollback"

    unsaid = bob.post(path)
    ordered = bob.post(path, json={"reason": "it is slow"})
    repeated = bob.post(path, json={"reason": "it is slow"})

    assert (unsaid.status_code, ordered.status_code) == (422, 202)
    assert ordered.json == repeated.json
    assert bob.get(f"/api/v1/jobs/{ordered.json['attempt_id']}").json["update"]["rollback"] is True


def test_nothing_to_roll_back_to_is_a_conflict(bob, online):
    answer = bob.post(f"/api/v1/hosts/{online.id}/rollback", json={"reason": "why not"})

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "no_rollback")


def test_an_administrator_holds_and_releases_a_host(alice, online, release):
    held = alice.post(f"/api/v1/hosts/{online.id}/hold", json={"reason": "month end"})
    unsaid = alice.post(f"/api/v1/hosts/{online.id}/hold")
    released = alice.post(f"/api/v1/hosts/{online.id}/unhold")

    assert (held.status_code, held.json["held_reason"]) == (200, "month end")
    assert unsaid.status_code == 422
    assert (released.status_code, released.json["held_reason"]) == (200, None)
