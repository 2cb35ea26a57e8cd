"""What each order of the server does: one handler per message type."""

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

from agent.errors import ConfigurationError
from agent.jobs import Jobs
from agent.outbox import Outbox
from agent.questions import Questions
from agent.schedules.firing import Schedules
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

BROWSES_AT_ONCE = 4


def _usable(credential: str) -> str:
    """The credential if it can stand in an HTTP header, else nothing: the one that works is kept."""
    return credential if credential.isascii() and credential.isprintable() and " " not in credential else ""


class Commands:
    """The registry of handlers; anything that has none is logged and left."""

    def __init__(
        self, *, jobs: Jobs, outbox: Outbox, outgoing: Outgoing, secrets: SecretsFile, questions: Questions,
        updates: Updates, schedules: Schedules, wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._schedules = schedules
        self._outbox = outbox
        self._outgoing = outgoing
        self._secrets = secrets
        self._questions = questions
        self._updates = updates
        self._wake = wake
        self._browsing = threading.BoundedSemaphore(BROWSES_AT_ONCE)
        self._handlers: dict[type, Callable[[Any], None]] = {
            ConfigSet: self._set_config,
            ScheduleSet: self._set_schedule,
            CommandRun: self._run,
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
            self._outbox.add(
                ScheduleAck(
                    config_version=self._stored_version(),
                    schedule_version=self._schedules.stored.version,
                    problem=str(error)[:500],
                )
            )
            return
        self._outbox.add(ScheduleAck(config_version=order.version, schedule_version=self._schedules.stored.version))
        if is_renewed:
            raise CredentialRenewed("this host has a new credential and connects with it")

    def _stored_version(self) -> int:
        try:
            return self._secrets.load().config_version
        except ConfigurationError:
            return 0

    def _set_schedule(self, order: ScheduleSet) -> None:
        problem = ""
        try:
            self._schedules.set(order)
        except (ConfigurationError, OSError) as error:
            log.error("The schedules %d were not stored: %s", order.version, error)
            problem = str(error)[:500]
        self._outbox.add(
            ScheduleAck(
                config_version=self._stored_version(),
                schedule_version=self._schedules.stored.version,
                problem=problem,
            )
        )

    def _run(self, order: CommandRun) -> None:
        # Only the agent itself says of a run that it was fired by a schedule.
        self._jobs.accept(dataclasses.replace(order, fired=None))

    def _browse(self, order: CommandBrowse) -> None:
        if not self._browsing.acquire(blocking=False):
            text = "This host is answering other questions. Ask again in a moment."
            self._answer(BrowseResult(request_id=order.request_id, ok=False, reason="busy", message=text))
            return
        threading.Thread(target=self._browse_apart, args=(order,), name="browse", daemon=True).start()

    def _browse_apart(self, order: CommandBrowse) -> None:
        try:
            result = self._questions.answer(order)
        except Exception as error:
            log.exception("The question %s failed inside the agent", order.query)
            text = f"The agent failed on this question ({type(error).__name__}); its own log says more."
            result = BrowseResult(request_id=order.request_id, ok=False, reason="agent_error", message=text)
        finally:
            self._browsing.release()
        self._answer(result)

    def _answer(self, result: BrowseResult) -> None:
        self._outgoing.answer(result)
        self._wake()
