"""A release, two hosts behind it, and the fleet update that has started."""

import pytest
from flask import Flask

from rm.events import EventBus
from rm.services import fleet_updates as service
from rm.store.models import FleetUpdate, Release
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import OLD


@pytest.fixture
def release(app: Flask) -> Release:
    return update_rows.add_release(cast.NOW)


@pytest.fixture
def pair(web1: EnrolledHost, db1: EnrolledHost, release: Release) -> tuple[EnrolledHost, EnrolledHost]:
    """web1 and db1, connected, one release behind."""
    for host in (web1, db1):
        update_rows.run(host.id, OLD, cast.NOW)
    return web1, db1


@pytest.fixture
def started(bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost]) -> FleetUpdate:
    """A running fleet update of both, started by alice; db1 comes first, by name."""
    planned = service.plan(bus, options={}, actor=cast.ALICE, now=cast.NOW)
    return service.start(bus, fleet_update_id=planned.id, actor=cast.ALICE, now=cast.NOW)
