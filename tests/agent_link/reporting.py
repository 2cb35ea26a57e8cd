"""When an agent says things were, and a question about its repository."""

from rm.services.repositories import test_on_host as try_on_host
from rm.shared import instants
from rm.store import database
from tests.cast import BOB, NOW

AT = instants.to_text(NOW)


def try_repository(bus, parts, host):
    """What comes of a question, asked as a page asks it."""
    with database.connection():
        return try_on_host(bus, parts.agents, host_id=host.id, actor=BOB, now=NOW)
