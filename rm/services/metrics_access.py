"""Who may read /metrics: what the environment says, and the token that administrators make on the settings page."""

import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime

from rm.config import Settings
from rm.domain.actors import Actor
from rm.domain.limits import SCRAPE_PER_ADDRESS, who_tries
from rm.errors import Forbidden, NotFound, Unauthorised
from rm.services import audit, tokens
from rm.services.tries import Tries
from rm.shared import instants
from rm.store import kept_settings
from rm.store.database import changes

NAME = "metrics.token"
PREFIX = "rmm"


@dataclass(frozen=True)
class Access:
    """What is asked of who reads: one of the tokens, an address in one of the networks; both where both are set."""

    has_fixed_token: bool
    networks: tuple[str, ...]
    made_at: datetime | None
    made_by: str

    @property
    def wants_token(self) -> bool:
        return self.has_fixed_token or self.made_at is not None

    @property
    def is_on(self) -> bool:
        return self.wants_token or bool(self.networks)


def find(settings: Settings) -> Access:
    """Who may read the metrics now."""
    kept = kept_settings.get(NAME, {})
    return Access(
        has_fixed_token=bool(settings.metrics_token),
        networks=tuple(str(network) for network in settings.metrics_trusted_cidr),
        made_at=instants.from_text(kept["made_at"]) if kept else None,
        made_by=kept.get("made_by", ""),
    )


def let_in(settings: Settings, limits: Tries, *, address: str, authorization: str, now: datetime) -> None:
    """Nothing for whoever may read; raises NotFound, Forbidden, Unauthorised, or TooMany after many wrong tokens."""
    hashes = [tokens.hashed(settings.metrics_token)] if settings.metrics_token else []
    kept = kept_settings.get(NAME, {})
    if kept:
        hashes.append(kept["token_hash"])
    if not hashes and not settings.metrics_trusted_cidr:
        raise NotFound(
            "There is no /metrics here.",
            help="An administrator can make a token under Settings, Metrics; or set RM_METRICS_TRUSTED_CIDR.",
        )
    if settings.metrics_trusted_cidr and not _is_trusted(settings, address):
        raise Forbidden("This address may not read the metrics.", help="RM_METRICS_TRUSTED_CIDR says which may.")
    if not hashes:
        return
    who = who_tries(address)
    limits.check("metrics", who, SCRAPE_PER_ADDRESS, now)
    scheme, _, given = authorization.partition(" ")
    # Hashes of equal length are compared, all of them, so that the time says nothing about any.
    is_right = [hmac.compare_digest(tokens.hashed(given.strip()), one) for one in hashes]
    if scheme.lower() != "bearer" or not any(is_right):
        # A request without a token is no guess.
        if given:
            limits.count("metrics", who, SCRAPE_PER_ADDRESS, now)
        raise Unauthorised(
            "A bearer token is needed.", help="Settings, Metrics makes one; RM_METRICS_TOKEN is another."
        )


def make_token(*, actor: Actor, now: datetime) -> str:
    """A fresh token, shown this once; the one that was made here before ends."""
    plain = tokens.make(PREFIX)
    with changes():
        before = kept_settings.get(NAME, {})
        kept_settings.put(
            NAME, {"token_hash": tokens.hashed(plain), "made_at": instants.to_text(now), "made_by": actor.name}
        )
        _record(actor, before="set" if before else "none", after="set anew" if before else "set", now=now)
    return plain


def end_token(*, actor: Actor, now: datetime) -> bool:
    """End the token that was made here; False when there is none."""
    with changes():
        if not kept_settings.get(NAME, {}):
            return False
        kept_settings.put(NAME, {})
        _record(actor, before="set", after="none", now=now)
    return True


def _record(actor: Actor, *, before: str, after: str, now: datetime) -> None:
    audit.record(
        actor, "settings.changed", now=now, kind="settings", id="metrics", name="metrics",
        before={"token": before}, after={"token": after},
    )  # fmt: skip


def _is_trusted(settings: Settings, address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in settings.metrics_trusted_cidr)
