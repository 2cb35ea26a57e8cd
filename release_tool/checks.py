"""Ed25519 by two implementations that share no code: OpenSSL's and the pure-Python one that agents carry."""

from ecdsa import BadSignatureError, Ed25519, VerifyingKey
from ecdsa.errors import MalformedPointError

from release_tool import signing
from rm.shared.minisign import Check


def by_ecdsa(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is the key's, as an agent finds out."""
    try:
        return bool(VerifyingKey.from_string(public_key, curve=Ed25519).verify(signature, message))
    except (BadSignatureError, MalformedPointError, ValueError, AssertionError):
        return False


IMPLEMENTATIONS: dict[str, Check] = {"cryptography": signing.check, "ecdsa": by_ecdsa}
