"""Good and bad hosts, and how a fleet update of them stands."""

from rm.store.models import FleetUpdate
from tests.fleet.fake_agents import Script

GOOD = Script()
BAD = Script(ends="reverts", hello_after=20)


def state(fleet_update_id):
    return FleetUpdate.get_by_id(fleet_update_id).state
