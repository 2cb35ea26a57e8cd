"""An agent that wishes us ill, next to the browser of somebody who looks at what it sent."""

from tests.agent_link.conftest import connect, registry, writer
from tests.web.conftest import alice, browser_of, stranger

__all__ = ["alice", "browser_of", "connect", "registry", "stranger", "writer"]
