"""This server as the provider knows it, and what is asked of a provider.

Apart from the provider itself: what that stands on takes eight megabytes, which only who uses one should pay.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rm.domain.oidc import Identity, RoleValues

CALLBACK = "/login/oidc/callback"


@dataclass(frozen=True)
class Client:
    """What the server's settings say about the provider and about this server there."""

    issuer: str
    id: str
    secret: str
    scopes: str
    role_claim: str
    roles: RoleValues
    username_claim: str
    label: str
    redirect_uri: str
    ca_file: Path | None = None


class Provider(Protocol):
    """Who says who somebody is."""

    client: Client

    def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in; raises ProviderAway."""

    def identify(self, *, code: str, verifier: str, nonce: str, now: datetime) -> Identity:
        """Who brought this code; raises SignInRefused, of which ProviderAway is one."""
