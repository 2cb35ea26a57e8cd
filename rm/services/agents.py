"""The connected agents, as services and pages may use them; agent_link fulfils it."""

from typing import Protocol

from rm.shared.protocol import BrowseResult, CommandBrowse


class Agents(Protocol):
    """Who is connected, and a way to ask one of them."""

    def is_connected(self, host_id: str) -> bool: ...

    def count(self) -> int: ...

    def ask(self, host_id: str, question: CommandBrowse, *, timeout_seconds: float) -> BrowseResult:
        """The answer; raises HostOffline when the host is not connected, vanishes, or does not answer in time."""
        ...
