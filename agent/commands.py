"""What each order of the server does: one handler per message type."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from agent.errors import ConfigurationError
from agent.jobs import Jobs
from agent.outbox import Outbox
from agent.redact import of_secrets
from agent.repository import NotUsable, Repositories
from agent.secrets import SecretsFile
from agent.session import CredentialRenewed, Outgoing
from agent.update.engine import Updates
from rm.shared.protocol import (
    BrowseResult,
    CommandBrowse,
    CommandCancel,
    CommandRollback,
    CommandRun,
    CommandUpdate,
    CommandUpdateCancel,
    ConfigSet,
    Message,
    ScheduleAck,
    ScheduleSet,
)

log = logging.getLogger("agent.commands")

BROWSE_SECONDS = 17.0
BROWSES_AT_ONCE = 4


def _usable(credential: str) -> str:
    """The credential if it can stand in an HTTP header, else nothing: the one that works is kept."""
    return credential if credential.isascii() and credential.isprintable() and " " not in credential else ""


class Commands:
    """The registry of handlers; anything that has none is logged and left."""

    def __init__(
        self, *, jobs: Jobs, outbox: Outbox, outgoing: Outgoing, secrets: SecretsFile, repositories: Repositories,
        updates: Updates, wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._outbox = outbox
        self._outgoing = outgoing
        self._secrets = secrets
        self._repositories = repositories
        self._updates = updates
        self._wake = wake
        self._browsing = threading.BoundedSemaphore(BROWSES_AT_ONCE)
        self._handlers: dict[type, Callable[[Any], None]] = {
            ConfigSet: self._set_config,
            ScheduleSet: self._set_schedule,
            CommandRun: jobs.accept,
            CommandCancel: lambda order: jobs.cancel(order.job_id),
            CommandBrowse: self._browse,
            CommandUpdate: updates.update,
            CommandRollback: updates.roll_back,
            CommandUpdateCancel: updates.cancel,
        }

    def handle(self, message: Message) -> None:
        """Do what the message says."""
        handler = self._handlers.get(type(message.payload))
        if handler is None:
            log.warning("The order %s is not known to this agent.", message.type)
            return
        handler(message.payload)

    def _set_config(self, order: ConfigSet) -> None:
        self._updates.told_trust(order.trust)
        try:
            is_renewed = self._secrets.set_config(
                version=order.version, repositories=order.repositories, credential=_usable(order.credential)
            )
        except (ConfigurationError, OSError) as error:
            log.error("The configuration %d was not stored: %s", order.version, error)
            self._outbox.add(ScheduleAck(config_version=self._stored_version(), problem=str(error)[:500]))
            return
        self._outbox.add(ScheduleAck(config_version=order.version))
        if is_renewed:
            raise CredentialRenewed("this host has a new credential and connects with it")

    def _stored_version(self) -> int:
        try:
            return self._secrets.load().config_version
        except ConfigurationError:
            return 0

    def _set_schedule(self, order: ScheduleSet) -> None:
        problem = "This agent does not run schedules yet. Update the agent." if order.schedules else ""
        self._outbox.add(ScheduleAck(config_version=self._stored_version(), problem=problem))

    def _browse(self, order: CommandBrowse) -> None:
        if not self._browsing.acquire(blocking=False):
            text = "This host is answering other questions. Ask again in a moment."
            self._answer(BrowseResult(request_id=order.request_id, ok=False, reason="busy", message=text))
            return
        threading.Thread(target=self._browse_apart, args=(order,), name="browse", daemon=True).start()

    def _browse_apart(self, order: CommandBrowse) -> None:
        try:
            result = self._look(order)
        except Exception as error:
            log.exception("The question %s failed inside the agent", order.query)
            text = f"The agent failed on this question ({type(error).__name__}); its own log says more."
            result = BrowseResult(request_id=order.request_id, ok=False, reason="agent_error", message=text)
        finally:
            self._browsing.release()
        self._answer(result)

    def _look(self, order: CommandBrowse) -> BrowseResult:
        if order.query != "test":
            text = f"This agent does not know the question {order.query!r}. Update the agent."
            return BrowseResult(request_id=order.request_id, ok=False, reason="unsupported", message=text)
        try:
            repository = self._repositories.open(order.repository_id)
        except NotUsable as error:
            return BrowseResult(request_id=order.request_id, ok=False, reason=error.reason, message=error.message)
        except ConfigurationError as error:
            return BrowseResult(request_id=order.request_id, ok=False, reason="secrets_corrupt", message=str(error))
        identity, meaning = repository.identity(timeout_seconds=BROWSE_SECONDS)
        clean = of_secrets(self._secrets.load())
        if identity is None:
            return BrowseResult(
                request_id=order.request_id, ok=False, reason=meaning.reason, message=clean.text(meaning.message)[:2000]
            )
        return BrowseResult(
            request_id=order.request_id,
            ok=True,
            message="The repository opens from this host.",
            data={"restic_repository_id": identity, "restic_version": repository.tool.version_text or ""},
        )

    def _answer(self, result: BrowseResult) -> None:
        self._outgoing.answer(result)
        self._wake()
