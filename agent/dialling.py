"""Which credential the agent calls with: the newest, or the one before it while the server knows only that."""

import logging

from agent.errors import ConfigurationError
from agent.secrets import SecretsFile

log = logging.getLogger("agent")


class Dialling:
    """The choice for each call, from how the call before went."""

    def __init__(self, secrets: SecretsFile) -> None:
        self._secrets = secrets
        self._dialled_with = self._refused_one = ""
        self._uses_previous = False

    def credential(self) -> str:
        """The credential for the next call; raises ConfigurationError."""
        found = self._secrets.load()
        self._uses_previous = bool(found.previous_credential) and self._refused_one == found.credential
        self._dialled_with = found.previous_credential if self._uses_previous else found.credential
        return self._dialled_with

    def refused(self) -> None:
        """The server did not take the credential of this call."""
        self._refused_one = self._dialled_with

    def welcomed(self) -> None:
        """The server took it; if it was the one before the newest, that one counts again."""
        if not self._uses_previous:
            return
        log.warning("The server knows only the credential before the newest one; that one counts again.")
        try:
            self._secrets.go_back_to_previous_credential()
        except (ConfigurationError, OSError) as error:
            log.error("That could not be stored: %s", error)
