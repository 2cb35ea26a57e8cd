"""Signatures in minisign's prehashed format: parsed strictly, checked with an Ed25519 that the caller brings.

The format is that of the stock `minisign`, so an operator can check every file with it. Only the prehashed kind
(BLAKE2b-512) is taken: the older kind would have a file signed that is read into memory as a whole.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rm.shared import ed25519

MAX_SIGNATURE_BYTES = 4096
UNTRUSTED = "untrusted comment: "
_TRUSTED = "trusted comment: "
_KEY_ALGORITHM = b"Ed"
_PREHASHED = b"ED"

Check = Callable[[bytes, bytes, bytes], bool]
"""(public key of 32 bytes, signature of 64 bytes, message) → whether the signature is the key's."""


class SignatureError(ValueError):
    """A key or signature that cannot be taken; `code` is one short word for programs, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class PublicKey:
    """A public key and the id that its owner gave it."""

    key_id: bytes
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """The key in a `.pub` file or in its one line of base64; raises SignatureError."""
        lines = [line.strip() for line in text.strip().splitlines() if not line.startswith(UNTRUSTED)]
        data = _decoded(lines[0], 42) if len(lines) == 1 else None
        if data is None or data[:2] != _KEY_ALGORITHM:
            raise SignatureError("bad_key", "This is no minisign public key.")
        problem = ed25519.key_problem(data[10:])
        if problem:
            raise SignatureError("bad_key", f"This public key must not be trusted: it {problem}.")
        return cls(data[2:10], data[10:])

    @property
    def text(self) -> str:
        """One line of base64, as `minisign -P` takes it."""
        return base64.b64encode(_KEY_ALGORITHM + self.key_id + self.raw).decode()

    @property
    def name(self) -> str:
        """The id as minisign prints it, but always with 16 hexadecimal digits."""
        return f"{int.from_bytes(self.key_id, 'little'):016X}"


@dataclass(frozen=True)
class Signature:
    """What a `.minisig` file holds."""

    key_id: bytes
    signature: bytes
    trusted_comment: str
    global_signature: bytes

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """Raises SignatureError for anything but the four lines of a prehashed signature."""
        if len(text) > MAX_SIGNATURE_BYTES:
            raise SignatureError("bad_signature_file", f"The signature is over {MAX_SIGNATURE_BYTES} bytes.")
        lines = text.rstrip("\r\n").split("\n")
        lines = [line.rstrip("\r") for line in lines]
        if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(_TRUSTED):
            raise SignatureError("bad_signature_file", "This is no minisign signature of four lines.")
        data, over = _decoded(lines[1], 74), _decoded(lines[3], 64)
        if data is None or over is None:
            raise SignatureError("bad_signature_file", "The signature is not written as minisign writes it.")
        if data[:2] != _PREHASHED:
            raise SignatureError("not_prehashed", "The signature is not of minisign's prehashed kind (minisign -H).")
        return cls(data[2:10], data[10:], lines[2][len(_TRUSTED) :], over)

    @property
    def text(self) -> str:
        """The content of the `.minisig` file."""
        data = base64.b64encode(_PREHASHED + self.key_id + self.signature).decode()
        over = base64.b64encode(self.global_signature).decode()
        return f"{UNTRUSTED}signature of restic-manager\n{data}\n{_TRUSTED}{self.trusted_comment}\n{over}\n"


def digest(data: bytes) -> bytes:
    """What is signed in place of the data."""
    return hashlib.blake2b(data).digest()


def verify(data: bytes, signature_text: str, keys: Sequence[PublicKey], check: Check) -> PublicKey:
    """The key of these that signed the data and the trusted comment; raises SignatureError."""
    signature = Signature.parse(signature_text)
    key = next((key for key in keys if key.key_id == signature.key_id), None)
    if key is None:
        name = PublicKey(signature.key_id, b"").name
        raise SignatureError("unknown_key", f"It is signed by the key {name}, which is not trusted here.")
    if not check(key.raw, signature.signature, digest(data)):
        raise SignatureError("bad_signature", f"The signature of the key {key.name} does not belong to these bytes.")
    if not check(key.raw, signature.global_signature, signature.signature + signature.trusted_comment.encode()):
        raise SignatureError("bad_comment", f"The trusted comment is not signed by the key {key.name}.")
    return key


def _decoded(line: str, length: int) -> bytes | None:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Only one spelling of each value, so that nobody can change a file without changing what it says.
    return data if len(data) == length and base64.b64encode(data).decode() == line else None
