"""Opens a configured repository: its environment, and short questions to it."""

import dataclasses
import json
import threading
from dataclasses import dataclass, field

from agent import lock_files, restic, restic_ends, restic_output, runner
from agent.config import Config, Paths
from agent.http import proxy_variables
from agent.locks import Lock, parse
from agent.platform import linux
from agent.secrets import SecretsFile
from agent.tool import Tool, ToolFinder
from rm.shared.protocol import RepositoryConfig, Snapshot

ASK_SECONDS = 60.0
STATS_SECONDS = 120.0
LOCKS_READ = 20
LOCKS_REMEMBERED = 500


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
    settings: Config
    # A lock's id is the hash of what it says, so what was read once need not be read again.
    seen_locks: dict[str, Lock] = field(default_factory=dict, compare=False)

    @property
    def bandwidth(self) -> list[str]:
        """What the host's owner has set as options."""
        return self.limits()

    def limits(self, *, upload: int = 0, download: int = 0) -> list[str]:
        """The limits in KiB/s as options; what the host's owner has set is never exceeded, 0 is no limit."""
        own = self.settings.limits
        wanted = {
            "upload": _stricter(own.upload_kib_per_second, upload),
            "download": _stricter(own.download_kib_per_second, download),
        }
        return [f"--limit-{name}={limit}" for name, limit in wanted.items() if limit]

    def identity(self, *, timeout_seconds: float = ASK_SECONDS) -> tuple[str | None, restic_ends.Meaning]:
        """The id in restic's own config, and what the attempt to open the repository means."""
        answer = self._ask(["cat", "config", "--no-lock"], timeout_seconds)
        if answer.code is None:
            text = f"The repository gave no answer within {timeout_seconds:.0f} s. Check address, network and proxy."
            return None, restic_ends.Meaning("failed", "unreachable", text)
        if answer.code != 0:
            return None, restic_ends.meaning(
                answer.code, error_text=restic_output.readable(answer.err + b"\n" + answer.out)
            )
        try:
            found = json.loads(answer.out)["id"]
        except (ValueError, KeyError, TypeError):
            text = "restic ended well but what it printed is not a repository's config. Check which restic runs."
            return None, restic_ends.Meaning("failed", "restic_garbled", text)
        return str(found)[:64], restic_ends.Meaning("succeeded", "", "")

    def snapshots(self) -> list[Snapshot] | None:
        """All snapshots, None when they cannot be listed."""
        answer = self._ask(["snapshots", "--json", "--no-lock"], ASK_SECONDS)
        return restic_output.parse_snapshots(restic_output.readable(answer.out)) if answer.code == 0 else None

    def unlock(self) -> bool:
        """Remove the locks whose owners are gone; whether that worked."""
        return self._ask(["unlock"], ASK_SECONDS).code == 0

    def total_bytes(self, *, stop: threading.Event) -> int | None:
        """The size of the data in the repository, None when it cannot be told in time or the agent stops."""
        answer = runner.ask(
            self.program, ["stats", "--mode", "raw-data", "--json", "--no-lock"], environment=self.environment,
            timeout_seconds=STATS_SECONDS, stop=stop,
        )  # fmt: skip
        try:
            return restic_output.number(json.loads(answer.out)["total_size"]) if answer.code == 0 else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def locks(self) -> list[Lock] | None:
        """The locks in the repository, the first few with their owners; None when they cannot be listed."""
        if lock_files.are_none(self.config.location):
            return []
        answer = self._ask(["list", "locks", "--no-lock"], ASK_SECONDS)
        if answer.code != 0:
            return None
        ids = [word for word in restic_output.readable(answer.out).split() if len(word) == 64]
        if len(self.seen_locks) > LOCKS_REMEMBERED:
            self.seen_locks.clear()
        told = [self._lock(one) for one in ids[:LOCKS_READ]]
        return told + [Lock(one) for one in ids[LOCKS_READ:]]

    def lock_ids(self) -> frozenset[str] | None:
        """The names of the locks, without starting a restic; None where that cannot be."""
        return lock_files.ids(self.config, self.settings)

    def remove_lock(self, lock_id: str) -> bool:
        """Remove this one lock and no other; False where that is not possible."""
        return lock_files.remove(self.config, self.settings, lock_id)

    def _lock(self, lock_id: str) -> Lock:
        if lock_id not in self.seen_locks:
            answer = self._ask(["cat", "lock", lock_id, "--no-lock"], ASK_SECONDS)
            found = parse(lock_id, restic_output.readable(answer.out))
            if not found.hostname:
                return found
            self.seen_locks[lock_id] = found
        return self.seen_locks[lock_id]

    def _ask(self, arguments: list[str], timeout_seconds: float) -> runner.Answer:
        return runner.ask(self.program, arguments, environment=self.environment, timeout_seconds=timeout_seconds)


def _stricter(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


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
        self._seen_locks: dict[str, Lock] = {}

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
        return Repository(found, tool, tool.path, environment, self._config, self._seen_locks)
