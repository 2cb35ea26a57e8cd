"""Secret keys in minisign's own file format without a passphrase, and the signatures that they make."""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rm.shared import minisign
from rm.shared.minisign import PublicKey, Signature, SignatureError

_NO_KDF = b"\0\0"
_FILE_BYTES = 2 + 2 + 2 + 32 + 8 + 8 + 8 + 64 + 32


@dataclass(frozen=True)
class SecretKey:
    """A signing key; `seed` is secret."""

    key_id: bytes
    seed: bytes

    def __repr__(self) -> str:
        return f"SecretKey({self.public.name})"

    @classmethod
    def generate(cls) -> "SecretKey":
        return cls(os.urandom(8), os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> "SecretKey":
        """The key in a file of `minisign -G -W` or of `text`; raises SignatureError, never with the key in its text."""
        lines = text.strip().splitlines()
        try:
            data = base64.b64decode(lines[-1], validate=True)
        except (binascii.Error, ValueError, IndexError):
            data = b""
        if len(data) != _FILE_BYTES or data[:2] != b"Ed" or data[4:6] != b"B2":
            raise SignatureError("bad_key", "This is no minisign secret key.")
        if data[2:4] != _NO_KDF:
            raise SignatureError("key_has_passphrase", "This key has a passphrase; sign with minisign itself.")
        key_id, secret, checksum = data[54:62], data[62:126], data[126:158]
        found = cls(key_id, secret[:32])
        # Some versions of minisign leave the checksum of a key without a passphrase empty.
        is_whole = checksum in (bytes(32), hashlib.blake2b(b"Ed" + key_id + secret, digest_size=32).digest())
        if not is_whole or found.public.raw != secret[32:]:
            raise SignatureError("bad_key", "The secret key is damaged: its checksum does not match.")
        return found

    @property
    def text(self) -> str:
        """The content of the secret key's file; the stock minisign takes it too."""
        secret = self.seed + self.public.raw
        checksum = hashlib.blake2b(b"Ed" + self.key_id + secret, digest_size=32).digest()
        data = b"Ed" + _NO_KDF + b"B2" + bytes(48) + self.key_id + secret + checksum
        return f"untrusted comment: secret key {self.public.name}\n{base64.b64encode(data).decode()}\n"

    @property
    def public(self) -> PublicKey:
        raw = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return PublicKey(self.key_id, raw)

    def sign(self, data: bytes, *, trusted_comment: str) -> str:
        """The content of the `.minisig` file for these bytes."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = key.sign(minisign.digest(data))
        over = key.sign(signature + trusted_comment.encode())
        return Signature(self.key_id, signature, trusted_comment, over).text


def check(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is the key's, by OpenSSL."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
