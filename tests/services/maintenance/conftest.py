"""A repository that two hosts use."""

import pytest

from rm.services import repository_hosts
from rm.store.models import Host, Repository
from tests import cast
from tests.cast import ALICE, NOW

FEATURES = ["forget", "time_box"]


@pytest.fixture
def place(bus, vault, web1, db1):
    """A repository that web1 and db1 use, both connected; nothing of it is due before tomorrow."""
    cast.give_repository(bus, vault, web1)
    repository_id = cast.host_row(web1).repository_id
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=ALICE, now=NOW)
    Repository.update(restic_repository_id="ab" * 32).where(Repository.id == repository_id).execute()
    connect(NOW)
    return repository_id


def connect(now, *names):
    """These hosts, or all, are connected and were heard of just now."""
    query = Host.update(connected_at=now, last_seen_at=now, restic_version="0.14.0", features=FEATURES)
    (query.where(Host.name.in_(names)) if names else query).execute()
