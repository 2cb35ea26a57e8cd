"""ID tokens: whose keys sign them, and what must be true of one before a word of it is believed."""

import warnings
from datetime import datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError, SecurityWarning
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from rm.services.oidc_refusals import ProviderAway, SignInRefused

# Signatures by the provider's private key only: with HS256 its public key, or our secret, would be the key.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
LEEWAY_SECONDS = 60
MOST_KEYS = 100
MOST_SUBJECT = 255
LEAST_RSA_BITS = 2048

__all__ = ["KeySet", "read_keys", "verified_claims"]


def read_keys(document: dict[str, Any]) -> KeySet:
    """The keys of a key set that sign; raises ProviderAway when there is none."""
    listed = document.get("keys")
    found = [_read_key(data) for data in listed[:MOST_KEYS]] if isinstance(listed, list) else []
    keys = [key for key in found if key is not None]
    if not keys:
        raise ProviderAway("its key set holds no key that signs")
    return KeySet(keys)


def verified_claims(
    text: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str, access_token: str, now: datetime
) -> dict[str, Any] | None:
    """The claims of an ID token that is signed, ours, of this sign-in and of now; None if its key is not known.

    Raises SignInRefused with the claim that does not hold.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            token = jwt.decode(text, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        if str(token.header.get("typ", "JWT")).lower() not in ("jwt", "application/jwt", "id_token+jwt"):
            raise SignInRefused("bad_token", "what came is another kind of token")
        claims = CodeIDToken(
            token.claims,
            token.header,
            {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
            {"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(now=int(now.timestamp()), leeway=LEEWAY_SECONDS)
    except InvalidKeyIdError:
        return None
    except JoseError as error:
        raise SignInRefused("bad_token", f"the ID token was refused: {type(error).__name__} {_named(error)}") from None
    except SignInRefused:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a forged token does to the library
        raise SignInRefused("bad_token", f"the ID token was refused: {type(error).__name__}") from None
    subject = claims["sub"]
    if not subject or len(subject) > MOST_SUBJECT or not subject.isascii() or not subject.isprintable():
        raise SignInRefused("bad_token", "its subject is no subject")
    return dict(claims)


def _read_key(data: Any) -> "RSAKey | ECKey | OKPKey | None":
    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            if data.get("use", "sig") != "sig":
                return None
            key = kinds[data["kty"]].import_key(data)
        if isinstance(key, RSAKey) and key.public_key.key_size < LEAST_RSA_BITS:
            return None
    except Exception:  # noqa: BLE001 - a key that cannot be read signs nothing
        return None
    return key  # type: ignore[no-any-return]


def _named(error: JoseError) -> str:
    """The claim that is at fault; the library's words quote only its name."""
    claim = getattr(error, "claim", "")
    return claim if isinstance(claim, str) else ""
