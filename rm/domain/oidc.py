"""What a provider's claims mean here: which role, which name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 2000
"""Values of a role claim that are looked at; more than that is not read."""


@dataclass(frozen=True)
class Identity:
    """Who the provider says somebody is; issuer and subject never change, all else may."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class RoleValues:
    """Which values of the role claim give which role."""

    admin: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()
    viewer: tuple[str, ...] = ()


def role_of(claims: Mapping[str, Any], path: str, values: RoleValues) -> str | None:
    """The highest role that a claim gives, None when nothing in it is known here."""
    held = _texts(find_claim(claims, path))
    for role, wanted in (("admin", values.admin), ("operator", values.operator), ("viewer", values.viewer)):
        if held.intersection(wanted):
            return role
    return None


def find_claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, or the one that dots lead to; None when there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def joined_claims(signed: Mapping[str, Any], told: Mapping[str, Any] | None) -> dict[str, Any]:
    """The claims of the signed token, and those that only userinfo tells; raises ValueError for two subjects."""
    if told is None:
        return dict(signed)
    if told.get("sub") != signed.get("sub"):
        raise ValueError("userinfo speaks of somebody else")
    return {**told, **signed}


def _texts(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset([value])
    if isinstance(value, list | tuple):
        return frozenset(part for part in value[:MOST_VALUES] if isinstance(part, str))
    return frozenset()
