"""What a host is to have: its configuration and its schedules, each sent once to a connection."""

import dataclasses
import logging
from collections.abc import Callable
from datetime import datetime

from rm.errors import RmError
from rm.events import EventBus
from rm.services import credentials, key_problems, repositories, schedule_sets
from rm.shared.protocol import ConfigSet, Hello, ScheduleSet
from rm.store import hosts
from rm.store.models import Host
from rm.store.vault import UnsealError, Vault

log = logging.getLogger(__name__)

_NOTHING = -1


class DesiredState:
    """What one connection has been told; asked again, it gives only what is new. Needs a database connection."""

    def __init__(
        self, vault: Vault, *, host_id: str, credential_hash: str, bus: EventBus, clock: Callable[[], datetime]
    ) -> None:
        self._vault = vault
        self._bus = bus
        self._clock = clock
        self._host_id = host_id
        self._credential_hash = credential_hash
        self._config_sent = _NOTHING
        self._schedules_sent = _NOTHING

    def said_hello(self, hello: Hello, host: Host) -> None:
        """What the agent says that it has already need not be sent."""
        if hello.config_version == host.config_version:
            self._config_sent = host.config_version
        if hello.schedule_version == host.schedule_version:
            self._schedules_sent = host.schedule_version

    def news(self) -> list[ConfigSet | ScheduleSet]:
        """What the agent has not got yet, in the order in which it is to arrive; raises NotFound.

        Schedules name repositories, and the hooks of a backup that is ordered come with the schedules. Secrets that
        cannot be opened are logged and raise an alert, and what holds them is left out.
        """
        config_version, schedule_version = hosts.wanted_versions(self._host_id)
        config = self._config() if config_version != self._config_sent else None
        schedules = self._schedules() if schedule_version != self._schedules_sent else None
        return [one for one in (config, schedules) if one is not None]

    def _config(self) -> ConfigSet | None:
        try:
            config = repositories.config_for_host(self._vault, host_id=self._host_id)
        except RmError as error:
            log.error("the configuration of host %s cannot be sent: %s", self._host_id, error)
            self._tell(error)
            return None
        try:
            # Asked after the version was read: a renewal that comes in between raises the version once more.
            fresh = credentials.to_deliver(self._vault, host_id=self._host_id, used_hash=self._credential_hash)
        except RmError as error:
            log.error("the new credential of host %s cannot be sent: %s", self._host_id, error)
            self._tell(error)
            return None
        key_problems.gone(self._bus, host_id=self._host_id, now=self._clock())
        self._config_sent = config.version
        return dataclasses.replace(config, credential=fresh)

    def _tell(self, error: RmError) -> None:
        if isinstance(error, UnsealError):
            key_problems.found(self._bus, host_id=self._host_id, error=error, now=self._clock())

    def _schedules(self) -> ScheduleSet | None:
        try:
            found = schedule_sets.news(self._vault, host_id=self._host_id, known_version=self._schedules_sent)
        except RmError as error:
            log.error("the schedules of host %s cannot be sent: %s", self._host_id, error)
            self._tell(error)
            return None
        if found is not None:
            self._schedules_sent = found.version
        return found
