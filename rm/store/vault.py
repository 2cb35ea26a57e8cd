"""Secrets at rest: sealed with a key file, bound to the row and column they belong to."""

import base64
import logging
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from rm.errors import NotReady, RmError
from rm.store.models import Repository, RepositoryCredential, Setting, User

log = logging.getLogger(__name__)

_MARK = "key_check"


class UnsealError(RmError):
    """A stored secret that the key does not open: it was changed, or moved from another row."""

    code = "unseal_failed"


class Vault:
    """Seals and opens secrets; `place` names the row and column, and a blob opens only there."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)

    def seal(self, secret: str, *, place: str) -> bytes:
        nonce = secrets.token_bytes(12)
        return b"\x01" + nonce + self._aead.encrypt(nonce, secret.encode(), place.encode())

    def unseal(self, sealed: bytes, *, place: str) -> str:
        """The secret; raises UnsealError, which names the place and nothing of the content."""
        sealed = bytes(sealed)
        try:
            if sealed[:1] != b"\x01" or len(sealed) < 13:
                raise InvalidTag
            return self._aead.decrypt(sealed[1:13], sealed[13:], place.encode()).decode()
        except InvalidTag as error:
            raise UnsealError(f"The secret of {place} cannot be opened with this key file.") from error


def open_vault(file: Path) -> Vault:
    """The vault of this database. The key file is made only where nothing was ever sealed.

    Raises NotReady when the file is missing, unreadable or another one; neither file nor database is changed then.
    Needs an open connection.
    """
    mark = Setting.get_or_none(Setting.name == _MARK)
    if not file.exists():
        if mark is not None or _holds_secrets():
            raise NotReady(
                f"The key file {file} is missing, and the database holds passwords that only it opens. "
                "Nothing was changed. Put the file back from your safekeeping, or point RM_SECRET_KEY_FILE at it."
            )
        _make_key(file)
    vault = Vault(read_key(file))
    if mark is None:
        sealed = base64.b64encode(vault.seal("restic-manager", place=f"settings:{_MARK}")).decode()
        Setting.create(name=_MARK, value=sealed)
        return vault
    try:
        vault.unseal(base64.b64decode(mark.value), place=f"settings:{_MARK}")
    except (UnsealError, ValueError) as error:
        raise NotReady(
            f"The key file {file} is not the one this database was made with. Nothing was changed. "
            "Put the right file back, or point RM_SECRET_KEY_FILE at it."
        ) from error
    return vault


def _holds_secrets() -> bool:
    return (
        Repository.select().exists()
        or RepositoryCredential.select().exists()
        or User.select().where(User.totp_sealed.is_null(False)).exists()
    )


def _make_key(file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whole or not at all: a half-written key would be taken for a damaged one. link() never overwrites.
        part = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        os.link(part, file)
        part.unlink()
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise NotReady(f"The key file {file} cannot be made: {error}") from error
    log.warning("made the key file %s: keep a copy away from this machine; without it stored passwords are lost", file)


def read_key(file: Path) -> bytes:
    """The key in a key file; raises NotReady."""
    try:
        key = base64.b64decode(file.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as error:
        raise NotReady(f"The key file {file} cannot be read: {error}. It was not changed.") from error
    if len(key) != 32:
        raise NotReady(f"The key file {file} is damaged: it must hold 32 bytes in base64. It was not changed.")
    return key
