"""Opens a configured repository: its environment, and short questions to it."""

import dataclasses
import json
from dataclasses import dataclass

from agent import restic, runner, upkeep
from agent.config import Config, Paths
from agent.http import proxy_variables
from agent.platform import linux
from agent.secrets import SecretsFile
from agent.tool import Tool, ToolFinder
from rm.shared.protocol import RepositoryConfig, Snapshot

ASK_SECONDS = 60.0


class NotUsable(Exception):
    """A repository that cannot be asked at all; carries reason and sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Repository:
    """A configured repository and the restic that opens it."""

    config: RepositoryConfig
    tool: Tool
    program: str
    environment: dict[str, str]
    bandwidth: list[str]

    def identity(self, *, timeout_seconds: float = ASK_SECONDS) -> tuple[str | None, restic.Meaning]:
        """The id in restic's own config, and what the attempt to open the repository means."""
        answer = self._ask(["cat", "config", "--no-lock"], timeout_seconds)
        if answer.code is None:
            text = f"The repository gave no answer within {timeout_seconds:.0f} s. Check address, network and proxy."
            return None, restic.Meaning("failed", "unreachable", text)
        if answer.code != 0:
            return None, restic.meaning(answer.code, error_text=restic.readable(answer.err + b"\n" + answer.out))
        try:
            found = json.loads(answer.out)["id"]
        except (ValueError, KeyError, TypeError):
            text = "restic ended well but what it printed is not a repository's config. Check which restic runs."
            return None, restic.Meaning("failed", "restic_garbled", text)
        return str(found)[:64], restic.Meaning("succeeded", "", "")

    def snapshots(self) -> list[Snapshot] | None:
        """All snapshots, None when they cannot be listed."""
        answer = self._ask(["snapshots", "--json", "--no-lock"], ASK_SECONDS)
        return restic.parse_snapshots(restic.readable(answer.out)) if answer.code == 0 else None

    def unlock(self) -> bool:
        """Remove the locks whose owners are gone; whether that worked."""
        return self._ask(["unlock"], ASK_SECONDS).code == 0

    def locks(self) -> list[upkeep.Lock] | None:
        """The locks in the repository, the first few with their owners; None when they cannot be listed."""
        answer = self._ask(["list", "locks", "--no-lock"], ASK_SECONDS)
        if answer.code != 0:
            return None
        ids = [word for word in restic.readable(answer.out).split() if len(word) == 64]
        told = [self._lock(one) for one in ids[: upkeep.LOCKS_TOLD]]
        return told + [upkeep.Lock(one) for one in ids[upkeep.LOCKS_TOLD :]]

    def _lock(self, lock_id: str) -> upkeep.Lock:
        answer = self._ask(["cat", "lock", lock_id, "--no-lock"], ASK_SECONDS)
        return upkeep.parse_lock(lock_id, restic.readable(answer.out))

    def _ask(self, arguments: list[str], timeout_seconds: float) -> runner.Answer:
        return runner.ask(self.program, arguments, environment=self.environment, timeout_seconds=timeout_seconds)


def maintenance(config: RepositoryConfig) -> RepositoryConfig:
    """The repository as it is opened for deleting; as ever, where no credential is set for that."""
    if not (config.maintenance_username or config.maintenance_secret or config.maintenance_location):
        return config
    return dataclasses.replace(
        config,
        location=config.maintenance_location or config.location,
        username=config.maintenance_username or config.username,
        secret=config.maintenance_secret or config.secret,
    )


class Repositories:
    """The repositories that the server has configured for this host."""

    def __init__(self, *, paths: Paths, config: Config, secrets: SecretsFile, tools: ToolFinder) -> None:
        self._paths = paths
        self._config = config
        self._secrets = secrets
        self._tools = tools

    def open(self, repository_id: str, *, for_maintenance: bool = False) -> Repository:
        """The repository and restic, ready to be run; raises NotUsable or SecretsCorrupt.

        `for_maintenance` opens it with the credential that may delete, where there is one.
        """
        found = self._secrets.load().repositories.get(repository_id)
        if found is None:
            raise NotUsable(
                "not_configured",
                "This host has not been given this repository. Assign one on the host's page and run the job again.",
            )
        if for_maintenance:
            found = maintenance(found)
        tool = self._tools.find()
        if tool.path is None:
            raise NotUsable("restic_missing", f"{tool.problem[:1].upper()}{tool.problem[1:]}.")
        environment = restic.environment(
            found,
            home=linux.home_directory(),
            cache=str(self._paths.cache),
            temporary=str(self._paths.temporary),
            proxies=proxy_variables(self._config),
        )
        limits = self._config.limits
        bandwidth = [f"--limit-upload={limits.upload_kib_per_second}"] if limits.upload_kib_per_second else []
        bandwidth += [f"--limit-download={limits.download_kib_per_second}"] if limits.download_kib_per_second else []
        return Repository(found, tool, tool.path, environment, bandwidth)
