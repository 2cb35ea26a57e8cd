"""Fleet updates for programs: planning, starting, steering, and who may."""

from types import SimpleNamespace

import pytest

from rm.domain.disk_space import MIB
from rm.events import FleetUpdateChanged
from rm.services import disk_space
from rm.services import fleet_updates as service
from rm.store.models import FleetUpdate, Host, Release, UpdateAttempt
from tests.cast import NOW
from tests.fleet.fake_agents import Fleet, Script, add_release

URL = "/api/v1/fleet-updates"
WHY = "The server's disk is almost full, so it gives no orders; it goes on by itself once there is room."


@pytest.fixture
def fleet(app, bus):
    add_release(NOW)
    fleet = Fleet(bus, NOW, [("web1", Script()), ("web2", Script())])
    fleet.connect_all()
    return fleet


@pytest.fixture
def running(alice, fleet):
    return alice.post(URL, json={}).json["id"]


def test_a_dry_run_plans_and_starts_nothing(alice, fleet):
    answer = alice.post(URL, json={"dry_run": True})

    assert answer.status_code == 201
    assert (answer.json["state"], answer.json["estimate_seconds"]) == ("planned", 130)
    assert [(one["host_id"], one["verdict"], one["wave"], one["state"]) for one in answer.json["hosts"]] == [
        ("id-web1", "will_update", 1, "waiting"), ("id-web2", "will_update", 1, "waiting"),
    ]  # fmt: skip
    assert all(one["attempt_id"] is None for one in answer.json["hosts"])


def test_without_a_dry_run_it_starts(alice, fleet):
    answer = alice.post(URL, json={"canaries": 1, "waves": ["50%"], "max_in_flight": 2, "soak_seconds": 10})

    assert (answer.status_code, answer.json["state"]) == (201, "running")
    assert answer.json["options"]["waves"] == ["50%"]
    assert [one["wave"] for one in answer.json["hosts"]] == [0, 1]


def test_while_the_servers_disk_is_almost_full_it_waits_and_goes_on_by_itself(bus, settings, alice, running):
    told = []
    bus.on_event(lambda event: told.append(event) if isinstance(event, FleetUpdateChanged) else None)

    def look(mib):
        found = SimpleNamespace(f_bavail=mib, f_frsize=MIB, f_blocks=100_000)
        disk_space.look(bus, data_dir=settings.data_dir, now=NOW, statvfs=lambda _: found)

    try:
        look(50)
        steps = [service.step(bus, now=NOW) for _ in range(3)]
        waits = alice.get(f"{URL}/{running}").json
        because = alice.get(f"{URL}/{running}/hosts/id-web1/explain").json["explanation"]
        ordered = UpdateAttempt.select().count()
        look(5000)
        goes_on = service.step(bus, now=NOW)
    finally:
        disk_space.forget()

    assert (steps, ordered, goes_on) == ([False] * 3, 0, True)
    assert (waits["state"], waits["next"]) == ("running", f"No host starts now. {WHY}")
    assert because.startswith("web1 waits. The server's disk is almost full")
    assert UpdateAttempt.select().count() == 1
    assert {event.fleet_update_id for event in told} == {running}


def test_a_planned_one_is_started_and_says_what_changed(alice, fleet):
    planned = alice.post(URL, json={"dry_run": True}).json["id"]
    Host.update(is_pinned=True).where(Host.name == "web2").execute()

    shown = alice.get(f"{URL}/{planned}").json["changes"]
    refused = alice.post(f"{URL}/{planned}/start")
    started = alice.post(f"{URL}/{planned}/start", json={"accept_changes": True})

    assert shown == ["web2: to be updated then, pinned now."]
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "plan_changed")
    assert (started.status_code, started.json["state"]) == (200, "running")


def test_a_plan_whose_release_is_gone_can_still_be_looked_at(alice, fleet):
    planned = alice.post(URL, json={"dry_run": True}).json["id"]
    Release.update(is_current=False).execute()

    answer = alice.get(f"{URL}/{planned}")

    assert (answer.status_code, answer.json["changes"]) == (200, ["No release is current."])
    assert alice.post(f"{URL}/{planned}/start").json["error"]["code"] == "no_release"


def test_a_second_one_is_refused_while_one_is_open(alice, running):
    answer = alice.post(URL, json={})

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "active")
    assert FleetUpdate.select().count() == 1


@pytest.mark.parametrize(
    "options", [{"waves": "10%"}, {"max_in_flight": 0}, {"failure_policy": "x"}, {"dry_run": 1}, {"typo": 1}]
)
def test_a_bad_option_is_refused(alice, fleet, options):
    answer = alice.post(URL, json=options)

    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid")
    assert FleetUpdate.select().count() == 0


def test_without_a_release_there_is_nothing_to_plan(alice, app):
    answer = alice.post(URL, json={})

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "no_release")


def test_it_is_paused_resumed_and_cancelled(alice, running):
    paused = alice.post(f"{URL}/{running}/pause", json={"reason": "lunch"}).json
    resumed = alice.post(f"{URL}/{running}/resume").json
    cancelled = alice.post(f"{URL}/{running}/cancel", json={"mode": "hard"}).json

    assert [one["state"] for one in (paused, resumed, cancelled)] == ["paused", "running", "cancelling"]
    assert paused["reason"] == "Paused by alice: lunch"


def test_skip_and_rollback_want_a_reason(alice, running):
    for verb in ("skip", "rollback"):
        answer = alice.post(f"{URL}/{running}/{verb}", json={})
        assert answer.status_code == 422, verb


def test_a_reason_is_at_most_500_characters(alice, running):
    assert alice.post(f"{URL}/{running}/pause", json={"reason": "x" * 501}).status_code == 422


def test_a_named_host_is_skipped(alice, running):
    answer = alice.post(f"{URL}/{running}/skip", json={"reason": "in use", "host_ids": ["id-web2"]})

    assert {one["name"]: one["state"] for one in answer.json["hosts"]}["web2"] == "skipped"


def test_there_is_nothing_to_retry_before_a_failure(alice, running):
    answer = alice.post(f"{URL}/{running}/retry-failed")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "nothing_failed")


def test_each_host_is_explained(bob, running, fleet, bus):
    service.step(bus, now=NOW)

    answer = bob.get(f"{URL}/{running}/hosts/id-web2/explain")

    assert answer.json["explanation"] == "web2 waits for a free slot: web1 is being updated, 1 at a time."
    assert bob.get(f"{URL}/{running}/hosts/nope/explain").status_code == 404


def test_everybody_who_is_signed_in_may_look(charlie, running):
    assert charlie.get(f"{URL}/{running}").json["counts"] == {"waiting": 2}
    assert [one["id"] for one in charlie.get(URL).json["items"]] == [running]
    assert charlie.get(f"{URL}/{running}/events").json["items"][-1]["kind"] == "fleet.running"


@pytest.mark.parametrize(
    "verb", ["start", "pause", "resume", "cancel", "retry-failed", "skip", "rollback", "close"]
)  # fmt: skip
def test_only_an_admin_may_steer(bob, charlie, running, verb):
    for person in (bob, charlie):
        assert person.post(f"{URL}/{running}/{verb}", json={"reason": "x"}).status_code == 403
    assert FleetUpdate.get_by_id(running).state == "running"


def test_only_an_admin_may_plan(bob, fleet):
    assert bob.post(URL, json={"dry_run": True}).status_code == 403


def test_nobody_looks_in_without_a_session(client, running):
    assert client.get(f"{URL}/{running}").status_code == 401


def test_one_that_is_not_there_is_not_found(alice, app):
    assert alice.get(f"{URL}/nope").status_code == 404
    assert alice.post(f"{URL}/nope/pause").status_code == 404
