"""What the agent knows to be wrong with itself, in sentences for people."""

from agent.config import Paths
from agent.errors import ConfigurationError
from agent.outbox import Outbox
from agent.platform import linux
from agent.schedules.firing import Schedules
from agent.secrets import SecretsFile
from agent.tool import ToolFinder

LOW_BYTES = 64 * 1024 * 1024
CLOCK_SECONDS = 60.0


class Health:
    """Collects the problems that hello and heartbeat carry."""

    def __init__(
        self, *, paths: Paths, outbox: Outbox, secrets: SecretsFile, tools: ToolFinder, schedules: Schedules
    ) -> None:
        self._paths = paths
        self._outbox = outbox
        self._secrets = secrets
        self._tools = tools
        self._schedules = schedules
        self.clock_offset_seconds: float | None = None

    def problems(self) -> list[str]:
        """What is wrong now; empty when all is well."""
        found = [*self._outbox.problems(), *self._schedules.problems()]
        tool = self._tools.find()
        if tool.problem:
            found.append(tool.problem)
        try:
            self._secrets.load()
        except ConfigurationError as error:
            found.append(str(error))
        try:
            free = linux.free_bytes(self._paths.state)
            if free < LOW_BYTES:
                found.append(f"Only {free // 1024 // 1024} MiB are free for the agent's state in {self._paths.state}.")
        except OSError as error:
            found.append(f"The agent's state directory cannot be looked at: {error.strerror}.")
        offset = self.clock_offset_seconds
        if offset is not None and abs(offset) > CLOCK_SECONDS:
            way = "behind" if offset > 0 else "ahead of"
            found.append(f"This host's clock is {abs(offset):.0f} s {way} the server's; check its time service.")
        return [text[:500] for text in found[:16]]
