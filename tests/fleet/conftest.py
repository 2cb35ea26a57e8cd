"""A fleet of scripted agents on the real services."""

import pytest

from rm.services import fleet_updates
from rm.store import fleet_updates as fleet_updates_store
from tests.cast import ALICE, NOW
from tests.fleet.fake_agents import Fleet, Script, add_release, is_over


@pytest.fixture
def fleet_of(app, bus, clock):
    """fleet_of(web1=Script(), …) → connected agents and a current release."""

    def fleet_of(**scripts: Script) -> Fleet:
        add_release(NOW)
        fleet = Fleet(bus, NOW, scripts.items())
        fleet.connect_all()
        return fleet

    return fleet_of


@pytest.fixture
def begin(bus):
    """begin(fleet, waves=[…]) → the id of a running fleet update."""

    def begin(fleet: Fleet, **options) -> str:
        return fleet_updates.begin(bus, options=options, actor=ALICE, now=fleet.now).id

    return begin


def table(fleet_update_id: str) -> dict[str, str]:
    """What became of each host, by name."""
    return {row.host.name: row.state for row in fleet_updates_store.list_hosts(fleet_update_id)}


def run_to_the_end(fleet: Fleet, fleet_update_id: str) -> None:
    fleet.run(until=lambda: is_over(fleet_update_id))
