"""Announcing: this host shows the fingerprint of its own key, waits until a person approves it, and enrols itself."""

import base64
import binascii
import contextlib
import json
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ecdsa import Ed25519, SigningKey

from agent import durable, enrol
from agent.config import Config, Paths
from agent.enrol import EnrolError
from agent.errors import ConfigurationError
from agent.http import Answer, Transport, Unreachable
from agent.secrets import Secrets, SecretsFile
from rm.shared import ed25519

log = logging.getLogger("agent.announce")

RETRY_SECONDS = (1.0, 60.0)
UNREACHABLE_SECONDS = (5.0, 60.0)
ANNOUNCE_AGAIN = ("expired", "not_found")

Say = Callable[[str], None]
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Announcement:
    """What survives a restart: the key, and which announcement at which server it is for."""

    server: str
    private_key: str
    pending_id: str = ""
    nonce: str = ""

    @property
    def key(self) -> SigningKey:
        return SigningKey.from_string(base64.b64decode(self.private_key, validate=True), curve=Ed25519)

    @property
    def public_key(self) -> bytes:
        return bytes(self.key.verifying_key.to_string())


class AnnouncementFile:
    """The announcement on the disk, 0600; a damaged one is made anew, since nobody has approved its key."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.state / "announce.json"

    def load(self) -> Announcement | None:
        try:
            raw = json.loads(self.path.read_bytes())
            found = Announcement(**{name: str(raw[name]) for name in Announcement.__dataclass_fields__})
            found.public_key  # noqa: B018 - proves that the key can be used
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, AssertionError, binascii.Error):
            log.warning("%s is damaged; a new key is made, so the fingerprint changes.", self.path)
            return None
        return found

    def save(self, announcement: Announcement) -> None:
        try:
            durable.write(self.path, json.dumps(asdict(announcement), indent=1).encode())
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be written: {error.strerror}.") from error

    def forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def announce(paths: Paths, *, settings: dict[str, str], force: bool, say: Say, wait: Wait | None = None) -> Secrets:
    """Announce this host and wait until it is enrolled; raises EnrolError or ConfigurationError.

    It may be ended and started again at any time: key and place in the queue stay.
    """
    paths.make()
    enrol.refuse_overwriting(SecretsFile(paths), force=force)
    config = enrol.wanted(paths, settings)
    return _Announcer(paths, config, settings, say, wait or _sleep).run()


class _Announcer:
    def __init__(self, paths: Paths, config: Config, settings: dict[str, str], say: Say, wait: Wait) -> None:
        self._paths = paths
        self._config = config
        self._settings = settings
        self._say = say
        self._wait = wait
        self._file = AnnouncementFile(paths)
        self._transport = Transport(config)
        self._is_cut_off = False

    def run(self) -> Secrets:
        announcement = self._begin()
        self._show(announcement)
        while True:
            try:
                answer = self._claim(announcement)
            except Unreachable as error:
                self._tell_cut_off(str(error))
                self._pause(None, UNREACHABLE_SECONDS)
                continue
            if answer.status == 201:
                return self._finish(answer)
            if answer.status == 202 and "retry_after_seconds" in answer.body:
                self._tell_reached()
                self._pause(answer.body["retry_after_seconds"], RETRY_SECONDS)
            elif answer.status == 429 or answer.status >= 500:
                self._tell_cut_off(f"The server is busy (HTTP {answer.status}).")
                self._pause(answer.headers.get("retry-after"), UNREACHABLE_SECONDS)
            elif answer.error_code in ANNOUNCE_AGAIN:
                self._say("Nobody decided in time. This host announces itself again; its fingerprint stays the same.")
                announcement = self._announce(announcement)
                self._say("Waiting for an administrator to approve it ...")
            else:
                raise self._refusal(answer)

    # ---- the steps ----

    def _begin(self) -> Announcement:
        found = self._file.load()
        if found is None:
            found = Announcement(
                self._config.server, base64.b64encode(SigningKey.generate(curve=Ed25519).to_string()).decode()
            )
            # Before anybody sees the fingerprint: a crash must not leave a host that cannot prove it.
            self._file.save(found)
        if found.server == self._config.server and found.pending_id:
            return found
        return self._announce(Announcement(self._config.server, found.private_key))

    def _announce(self, before: Announcement) -> Announcement:
        body = enrol.facts(self._config) | {"public_key": base64.b64encode(before.public_key).decode()}
        try:
            answer = self._transport.request("POST", "/agent/announce", body=body)
        except Unreachable as error:
            raise EnrolError(str(error)) from error
        pending_id, nonce, fingerprint = (answer.body.get(name) for name in ("pending_id", "nonce", "fingerprint"))
        if answer.status != 202 or not isinstance(pending_id, str) or not isinstance(nonce, str):
            raise self._refusal(answer)
        if not pending_id.isalnum() or fingerprint != ed25519.fingerprint(before.public_key):
            raise EnrolError(
                f"{self._config.server} answered with another fingerprint than this host's. Something between this host"
                " and the server changes what they say: nothing was enrolled. Check the address, proxy and TLS."
            )
        found = Announcement(before.server, before.private_key, pending_id, nonce)
        self._file.save(found)
        return found

    def _claim(self, announcement: Announcement) -> Answer:
        text = f"restic-manager-announce-v1\n{announcement.server}\n{announcement.pending_id}\n{announcement.nonce}"
        signature = base64.b64encode(announcement.key.sign(text.encode())).decode()
        path = f"/agent/announce/{announcement.pending_id}/claim"
        return self._transport.request("POST", path, body={"signature": signature})

    def _finish(self, answer: Answer) -> Secrets:
        found = enrol.store(self._paths, self._config, self._settings, answer)
        self._file.forget()
        return found

    def _refusal(self, answer: Answer) -> EnrolError:
        told = f" The server says: {answer.error_text}" if answer.error_text else ""
        code = answer.error_code
        if code == "rejected":
            # Its key is spent: the next announcement shows a new fingerprint, so that nobody approves by habit.
            self._file.forget()
            return EnrolError("An administrator rejected this host. If that was a mistake, announce it again.")
        if code == "claimed":
            self._file.forget()
            return EnrolError(f"This announcement was used already.{told} Announce it again, or enrol with a token.")
        if code == "wrong_url":
            return EnrolError(f"The server is known under another address than {self._config.server}.{told}")
        if code == "bad_signature":
            return EnrolError(f"The server refuses this host's signature.{told} It was made for {self._config.server}.")
        if code == "announcing_off":
            return EnrolError(f"This server lets no host announce itself.{told}")
        return EnrolError(enrol.explain(self._config, answer))

    # ---- what people see ----

    def _show(self, announcement: Announcement) -> None:
        groups = ed25519.fingerprint_groups(ed25519.fingerprint(announcement.public_key))
        rows = "\n\n".join("      " + "   ".join(groups[at : at + 4]) for at in range(0, len(groups), 4))
        self._say(
            f"This host is announced at {self._config.server}.\n\n"
            f"  Its fingerprint (SHA256):\n\n{rows}\n\n"
            "An administrator must compare it with the one shown at the server: Fleet, Needs you. If they are the same,"
            "\napprove it there. You may end this command and start it again; the fingerprint stays.\n\n"
            "Waiting for an administrator to approve it ..."
        )

    def _tell_cut_off(self, text: str) -> None:
        if not self._is_cut_off:
            self._say(f"{text} Trying again until it answers ...")
        self._is_cut_off = True

    def _tell_reached(self) -> None:
        if self._is_cut_off:
            self._say("The server answers again. Waiting for an administrator to approve this host ...")
        self._is_cut_off = False

    def _pause(self, asked: Any, bounds: tuple[float, float]) -> None:
        low, high = bounds
        try:
            seconds = min(max(float(asked), low), high)
        except (TypeError, ValueError):
            seconds = low
        # Jitter: hosts that were installed together must not ask together.
        self._wait(seconds * random.uniform(1.0, 1.2))  # noqa: S311 - spreads load, guards nothing


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)
