"""A server that dies after any commit of a fleet update goes on where it was (proof 4)."""

import sys

import pytest

from rm.events import EventBus
from rm.services import fleet_updates, presence, updates
from rm.store import database
from rm.store import fleet_updates as store
from rm.store.models import FleetUpdate, Host, UpdateAttempt
from tests.cast import ALICE, NOW
from tests.fleet.conftest import table
from tests.fleet.fake_agents import Fleet, Script, ServerDied, add_release, is_over


class Mortal:
    """Lets the process die right after the n-th commit from when it is armed."""

    def __init__(self, monkeypatch) -> None:
        self.left = None
        self.commits = 0
        commit = database.db.commit

        def commit_and_die(*args, **more):
            answer = commit(*args, **more)
            self.commits += 1
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    self.left = None
                    raise ServerDied
            return answer

        monkeypatch.setattr(database.db, "commit", commit_and_die)


def scripts():
    return [
        ("web1", Script()),
        ("web2", Script()),
        ("web3", Script()),
        ("db1", Script()),
        ("db2", Script(busy_until=90)),
    ]


def go(fleet: Fleet, run: str, mortal: Mortal, file) -> int:
    """Run to the end, starting a new server whenever one died; returns how many died."""
    deaths = 0
    while True:
        try:
            if is_over(run):
                return deaths
            fleet.tick()
        except ServerDied:
            deaths += 1
            assert deaths < 3, "one death was ordered"
            start_anew(fleet, file)


def start_anew(fleet: Fleet, file) -> None:
    """What the factory's start does; agents find their sockets closed and come again."""
    if not database.db.is_closed():
        database.db.close()
    database.open_database(file)
    database.db.connect()
    fleet.is_dead = False
    fleet.use(EventBus())
    presence.nobody_is_connected()
    updates.rearm(fleet.bus, now=fleet.now)
    fleet_updates.rearm(fleet.bus, now=fleet.now)
    fleet.reconnect_all()


@pytest.mark.timeout(600)
def test_a_server_killed_after_every_commit_of_a_rollout_ends_with_the_same_table(
    app, bus, settings, monkeypatch, clock
):
    add_release(NOW)
    mortal = Mortal(monkeypatch)
    fleet = Fleet(bus, NOW, scripts())
    fleet.connect_all()
    run = fleet_updates.begin(bus, options={}, actor=ALICE, now=NOW).id
    mortal.commits = 0
    go(fleet, run, mortal, settings.database_file)
    commits, whole = mortal.commits, table(run)

    deaths = 0
    for number in range(1, commits + 1):
        forget_everything()
        fleet = Fleet(EventBus(), NOW, scripts())
        fleet.connect_all()
        run = fleet_updates.begin(fleet.bus, options={}, actor=ALICE, now=NOW).id
        mortal.left = number
        deaths += go(fleet, run, mortal, settings.database_file)
        mortal.left = None
        assert (store.get(run).state, table(run)) == ("completed", whole), number
        assert all(swaps == 1 for swaps in fleet.swapped.values()), number
        assert all(len(agent.swaps) == len(set(agent.swaps)) for agent in fleet.agents.values()), number
        assert UpdateAttempt.select().where(UpdateAttempt.state == "succeeded").count() == len(whole), number
        assert counted(run) == whole, number

    sys.stdout.write(f"\nserver kill: {commits} commits of a rollout of 5 hosts, {deaths} deaths, 0 second swaps\n")
    assert deaths >= commits - 1


def forget_everything() -> None:
    FleetUpdate.delete().execute()
    Host.delete().execute()


def counted(run: str) -> dict[str, str]:
    """What the history says became of each host, by name."""
    names = {row.host_id: row.host.name for row in store.list_hosts(run)}
    events = store.events(run, limit=10_000)
    return {names[one.host_id]: one.kind.removeprefix("host.") for one in events if one.kind.startswith("host.")}
