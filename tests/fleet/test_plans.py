"""The plan of a fleet update: who is in it, and what has changed since."""

import pytest

from rm.errors import Conflict, Invalid
from rm.services import fleet_updates
from rm.store import fleet_updates as store
from rm.store.models import FleetUpdate, Host, HostTag, UpdateAttempt
from tests.cast import ALICE, NOW
from tests.fleet.conftest import run_to_the_end, table
from tests.fleet.fake_agents import add_release
from tests.fleet.rollouts import BAD, GOOD, state


def test_a_plan_gives_every_host_a_verdict_and_starts_nothing(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, pinned=GOOD, held=GOOD, asleep=GOOD, current=GOOD)
    Host.update(is_pinned=True).where(Host.name == "pinned").execute()
    Host.update(held_reason="in use").where(Host.name == "held").execute()
    Host.update(agent_seq=2).where(Host.name == "current").execute()
    fleet.disconnect(fleet.agents["id-asleep"])

    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    fleet.tick()

    assert {row.host.name: row.verdict for row in store.list_hosts(found.id)} == {
        "web1": "will_update", "pinned": "pinned", "held": "held", "asleep": "offline", "current": "current",
    }  # fmt: skip
    assert (found.state, found.estimate_seconds) == ("planned", 65)
    assert UpdateAttempt.select().count() == 0


def test_an_offline_host_that_runs_the_release_is_current(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    fleet.disconnect(fleet.agents["id-web1"])
    Host.update(agent_seq=2).execute()

    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)

    assert store.host(found.id, "id-web1").verdict == "current"


def test_tags_and_ids_choose_hosts(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD, db1=GOOD)
    HostTag.create(host="id-web1", tag="web")
    HostTag.create(host="id-web2", tag="web")

    by_tag = fleet_updates.preview({"tags": ["web"]}, now=fleet.now)
    by_id = fleet_updates.preview({"tags": ["web"], "host_ids": ["id-web2"]}, now=fleet.now)

    assert [place.name for place in by_tag.places] == ["web1", "web2"]
    assert [place.name for place in by_id.places] == ["web2"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tags": ["nope"]}, "tags"),
        ({"host_ids": ["nope"]}, "host_ids"),
        ({"server_host_id": "nope"}, "server_host_id"),
        ({"canaries": ["nope"]}, "canaries"),
    ],
)
def test_names_that_nobody_has_are_refused(fleet_of, bus, options, field):
    fleet = fleet_of(web1=GOOD)

    with pytest.raises(Invalid) as refused:
        fleet_updates.plan(bus, options=options, actor=ALICE, now=fleet.now)

    assert list(refused.value.fields) == [field]


def test_without_a_current_release_there_is_no_plan(app, bus):
    with pytest.raises(Conflict) as refused:
        fleet_updates.plan(bus, options={}, actor=ALICE, now=NOW)

    assert refused.value.code == "no_release"


def test_starting_says_what_changed_since_the_plan(fleet_of, bus):
    fleet = fleet_of(web1=GOOD, web2=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    Host.update(is_pinned=True).where(Host.name == "web2").execute()

    with pytest.raises(Conflict) as refused:
        fleet_updates.start(bus, fleet_update_id=found.id, actor=ALICE, now=fleet.now)
    started = fleet_updates.start(bus, fleet_update_id=found.id, actor=ALICE, now=fleet.now, accepts_changes=True)

    assert refused.value.code == "plan_changed"
    assert "web2: to be updated then, pinned now." in refused.value.message
    assert (started.state, table(found.id)) == ("running", {"web1": "waiting", "web2": "excluded"})


def test_another_release_than_the_planned_one_is_a_change(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    add_release(NOW, seq=3, version="1.6.0", sha256="3" * 64)

    assert fleet_updates.differences(found.id, now=fleet.now) == ["The current release is 1.6.0 now, not 1.5.0."]


def test_a_host_that_only_went_offline_does_not_spoil_the_plan(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)
    found = fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)
    fleet.disconnect(fleet.agents["id-web1"])

    assert fleet_updates.differences(found.id, now=fleet.now) == []


def test_only_one_fleet_update_is_open_at_a_time_even_when_halted(fleet_of, begin, bus):
    fleet = fleet_of(web1=BAD)
    run = begin(fleet)
    run_to_the_end(fleet, run)

    with pytest.raises(Conflict) as refused:
        begin(fleet)

    assert (state(run), refused.value.code) == ("halted", "active")


def test_old_plans_do_not_pile_up(fleet_of, bus):
    fleet = fleet_of(web1=GOOD)

    for _ in range(25):
        fleet_updates.plan(bus, options={}, actor=ALICE, now=fleet.now)

    assert FleetUpdate.select().count() == 20


def test_past_fleet_updates_are_kept_the_newest_first(fleet_of, begin, bus):
    fleet = fleet_of(web1=GOOD)
    first = begin(fleet)
    run_to_the_end(fleet, first)
    second = begin(fleet)
    run_to_the_end(fleet, second)

    assert [found.id for found in fleet_updates.list_past()] == [second, first]
