"""The questions of the server that want an answer now: which there are, how long each may take, what each says."""

import time
from collections.abc import Callable
from typing import Any

from agent.browsing import TOO_SLOW, Browsing
from agent.contents import NotReadable
from agent.errors import ConfigurationError
from agent.lines import OutOfTime
from agent.redact import of_secrets
from agent.repository import NotUsable, Repositories, Repository
from agent.secrets import SecretsFile
from rm.shared.protocol import BrowseResult, CommandBrowse

BROWSE_SECONDS = 17.0

Looking = Callable[[Repository, dict[str, Any], Callable[[], bool]], dict[str, Any]]


class Questions:
    """Opens the repository that is asked about, and answers within 17 seconds."""

    def __init__(self, *, repositories: Repositories, secrets: SecretsFile, browsing: Browsing) -> None:
        self._repositories = repositories
        self._secrets = secrets
        self._looking: dict[str, Looking] = {"ls": browsing.ls, "find": browsing.find, "sizes": browsing.sizes}

    def answer(self, order: CommandBrowse) -> BrowseResult:
        """The answer, or why there is none."""
        until = time.monotonic() + BROWSE_SECONDS
        looking = self._looking.get(order.query)
        if looking is None and order.query != "test":
            return _refused(
                order, "unsupported", f"This agent does not know the question {order.query!r}. Update the agent."
            )
        try:
            repository = self._repositories.open(order.repository_id)
            if looking is None:
                return self._test(order, repository)
            data = looking(repository, order.parameters, lambda: time.monotonic() >= until)
        except (NotUsable, NotReadable) as error:
            return _refused(order, error.reason, self._clean(error.message))
        except ConfigurationError as error:
            return _refused(order, "secrets_corrupt", str(error))
        except OutOfTime:
            return _refused(order, "timeout", TOO_SLOW)
        return BrowseResult(request_id=order.request_id, ok=True, data=data)

    def _test(self, order: CommandBrowse, repository: Repository) -> BrowseResult:
        identity, meaning = repository.identity(timeout_seconds=BROWSE_SECONDS)
        if identity is None:
            return _refused(order, meaning.reason, self._clean(meaning.message))
        return BrowseResult(
            request_id=order.request_id,
            ok=True,
            message="The repository opens from this host.",
            data={"restic_repository_id": identity, "restic_version": repository.tool.version_text or ""},
        )

    def _clean(self, text: str) -> str:
        return of_secrets(self._secrets.load()).text(text)


def _refused(order: CommandBrowse, reason: str, message: str) -> BrowseResult:
    return BrowseResult(request_id=order.request_id, ok=False, reason=reason, message=message[:2000])
