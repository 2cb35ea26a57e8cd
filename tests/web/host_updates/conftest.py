"""A release, and a host that is behind it."""

from typing import Any

import pytest

from rm.store.models import Release
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.update_rows import OLD


@pytest.fixture
def release(app: Any) -> Release:
    return update_rows.add_release(cast.NOW)


@pytest.fixture
def old(web1: EnrolledHost, release: Release) -> EnrolledHost:
    """web1, connected, one release behind."""
    update_rows.run(web1.id, OLD, cast.NOW)
    return web1
