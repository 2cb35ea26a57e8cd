"""When the open fleet update takes its next step."""

import pytest

from rm.events import FleetUpdateChanged, HostSeen, UpdateChanged
from rm.services import fleet_updates
from rm.store.models import FleetUpdate, UpdateAttempt
from rm.workers.fleet_update import FleetDriver
from tests.cast import ALICE, NOW
from tests.fleet.fake_agents import Fleet, Script, add_release


@pytest.fixture
def calls():
    return []


@pytest.fixture
def driver(parts, calls):
    return FleetDriver(parts, wake=lambda: calls.append("woken"))


@pytest.fixture
def run(app, bus):
    add_release(NOW)
    Fleet(bus, NOW, [("web1", Script())]).connect_all()
    return fleet_updates.begin(bus, options={}, actor=ALICE, now=NOW).id


def statements_of(database, work):
    """How many SQL statements the work took."""
    seen = []
    database.connection().set_trace_callback(seen.append)
    try:
        work()
    finally:
        database.connection().set_trace_callback(None)
    return len(seen)


def test_a_run_orders_the_next_host(driver, run):
    assert driver.drive() > 0

    assert UpdateAttempt.get().fleet_update_id == run


def test_it_is_woken_when_an_attempt_changes(driver, run, bus, calls):
    driver.drive()
    calls.clear()

    bus.publish(UpdateChanged("job", "id-web1"))
    bus.publish(UpdateChanged("job", "id-web1"))
    bus.publish(HostSeen("id-web1"))

    assert calls == ["woken"]


def test_its_own_steps_do_not_wake_it(driver, run, calls):
    calls.clear()

    driver.drive()

    assert calls == []


def test_when_none_is_open_a_run_asks_the_database_nothing(app, driver):
    from rm.store.database import db

    driver.drive()

    assert statements_of(db, driver.drive) == 0


def test_it_finds_one_that_was_started_after_it_slept(app, bus, driver):
    driver.drive()
    add_release(NOW)
    Fleet(bus, NOW, [("web1", Script())]).connect_all()
    run = fleet_updates.begin(bus, options={}, actor=ALICE, now=NOW).id

    driver.drive()

    assert FleetUpdate.get_by_id(run).state == "running"
    assert UpdateAttempt.select().count() == 1


def test_a_run_while_one_is_under_way_does_nothing(driver, run):
    with driver._one_at_a_time:
        assert driver.drive() == 0

    assert UpdateAttempt.select().count() == 0


def test_events_of_other_things_are_ignored_while_none_is_open(app, driver, bus, calls):
    driver.drive()
    bus.publish(UpdateChanged("job", "host"))

    assert calls == []
    bus.publish(FleetUpdateChanged("run"))
    assert calls == ["woken"]


@pytest.mark.parametrize(("took", "rests"), [(0.005, []), (0.1, [pytest.approx(0.3)]), (4.0, [0.5])])
def test_after_a_long_step_it_rests_so_that_hosts_are_heard(driver, run, monkeypatch, took, rests):
    clock, slept = [0.0], []

    def step(bus, *, now):
        clock[0] += took
        return False

    monkeypatch.setattr("rm.workers.fleet_update.service.step", step)
    monkeypatch.setattr("rm.workers.fleet_update.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("rm.workers.fleet_update.time.sleep", slept.append)

    driver.drive()

    assert slept == rests
