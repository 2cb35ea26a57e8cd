"""The provider: what it says about itself, and who it says that somebody is. No database here, only the network."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from rm.domain.oidc import Identity, joined_claims
from rm.notifiers import outgoing
from rm.services.oidc_client import Client
from rm.services.oidc_refusals import ProviderAway, SignInRefused
from rm.services.oidc_tokens import KeySet, read_keys, verified_claims
from rm.services.oidc_transport import guard

FRESH_SECONDS = 3600.0
AWAY_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NetworkProvider:
    """Asks the provider; what it says about itself is kept for an hour, that it is away for seconds."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._away: tuple[float, ProviderAway] | None = None

    def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in; raises ProviderAway."""
        session = self._session()
        endpoint = self._endpoint(self._discovered(session), "authorization_endpoint")
        url, _ = session.create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    def identify(self, *, code: str, verifier: str, nonce: str, now: datetime) -> Identity:
        """Who brought this code; raises SignInRefused, of which ProviderAway is one."""
        session = self._session()
        metadata = self._discovered(session)
        token = self._exchange(session, metadata, code, verifier)
        claims = self._verified(session, metadata, token, nonce, now)
        told = self._userinfo(session, metadata, token["access_token"])
        try:
            joined = joined_claims(claims, told)
        except ValueError as error:
            raise SignInRefused("other_person", str(error)) from None
        return Identity(issuer=self.client.issuer, subject=claims["sub"], claims=joined)

    def _session(self) -> OAuth2Session:
        client = self.client
        session = OAuth2Session(
            client.id, client.secret or None, scope=client.scopes, redirect_uri=client.redirect_uri,
            code_challenge_method="S256",
        )  # fmt: skip
        guard(session, client.ca_file)
        return session

    def _exchange(
        self, session: OAuth2Session, metadata: Mapping[str, Any], code: str, verifier: str
    ) -> dict[str, Any]:
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self.client.secret and "client_secret_basic" not in methods and "client_secret_post" in methods:
            session.token_endpoint_auth_method = "client_secret_post"
        try:
            token = session.fetch_token(
                self._endpoint(metadata, "token_endpoint"), grant_type="authorization_code", code=code,
                code_verifier=verifier, redirect_uri=self.client.redirect_uri, allow_redirects=False,
            )  # fmt: skip
        except OAuthError as error:
            if error.error in ("invalid_client", "unauthorized_client"):
                raise ProviderAway("it does not accept RM_OIDC_CLIENT_ID with RM_OIDC_CLIENT_SECRET") from None
            raise SignInRefused("code_refused") from None
        except SignInRefused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to the library
            raise ProviderAway(f"its token endpoint gave no token ({type(error).__name__})") from None
        if not isinstance(token.get("access_token"), str) or not isinstance(token.get("id_token"), str):
            raise ProviderAway("its token endpoint gave no ID token; RM_OIDC_SCOPES must hold openid")
        return dict(token)

    def _verified(
        self, session: OAuth2Session, metadata: Mapping[str, Any], token: Mapping[str, Any], nonce: str, now: datetime
    ) -> dict[str, Any]:
        def check(keys: KeySet) -> dict[str, Any] | None:
            return verified_claims(
                token["id_token"], keys, issuer=self.client.issuer, client_id=self.client.id, nonce=nonce,
                access_token=token["access_token"], now=now,
            )  # fmt: skip

        claims = check(self._key_set(session, metadata))
        if claims is None:  # a key that is not known yet: the provider has new ones
            self._keys = None
            claims = check(self._key_set(session, metadata))
        if claims is None:
            raise SignInRefused("bad_token", "the key that signed it is not among the provider's keys")
        return claims

    def _userinfo(
        self, session: OAuth2Session, metadata: Mapping[str, Any], access_token: str
    ) -> dict[str, Any] | None:
        """What the provider tells beside the signed token; None if it has no such endpoint."""
        if "userinfo_endpoint" not in metadata:
            return None
        if not access_token.isascii() or not access_token.isprintable():
            raise ProviderAway("its access token cannot be sent")
        # By hand: the session takes a token that lives a minute, as Keycloak's do, for one that is over.
        header = {"Authorization": f"Bearer {access_token}"}
        return self._json(session, self._endpoint(metadata, "userinfo_endpoint"), "userinfo", header)

    def _discovered(self, session: OAuth2Session) -> dict[str, Any]:
        moment = time.monotonic()
        if self._metadata is not None and moment - self._metadata[0] < FRESH_SECONDS:
            return self._metadata[1]
        if self._away is not None and moment - self._away[0] < AWAY_SECONDS:
            raise ProviderAway(self._away[1].detail)
        try:
            url = self.client.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = self._json(session, url, "discovery document")
            if found.get("issuer") != self.client.issuer:
                raise ProviderAway(f"it calls itself {str(found.get('issuer'))[:200]!r}, not as RM_OIDC_ISSUER says")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                self._endpoint(found, name)
        except ProviderAway as error:
            self._away = (time.monotonic(), error)
            raise
        self._metadata, self._away = (time.monotonic(), found), None
        return found

    def _key_set(self, session: OAuth2Session, metadata: Mapping[str, Any]) -> KeySet:
        if self._keys is not None and time.monotonic() - self._keys[0] < FRESH_SECONDS:
            return self._keys[1]
        keys = read_keys(self._json(session, self._endpoint(metadata, "jwks_uri"), "key set"))
        self._keys = (time.monotonic(), keys)
        return keys

    def _json(
        self, session: OAuth2Session, url: str, what: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json"} | dict(headers or {})
        response = session.get(url, withhold_token=True, allow_redirects=False, headers=sent)
        if response.status_code != 200:
            raise ProviderAway(f"its {what} came with status {response.status_code}")
        try:
            found = response.json()
        except (ValueError, RecursionError):
            raise ProviderAway(f"its {what} is no JSON") from None
        if not isinstance(found, dict):
            raise ProviderAway(f"its {what} is no JSON object")
        return found

    def _endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        """An address from the discovery document; as protected as the issuer's own, raises ProviderAway otherwise."""
        url = metadata.get(name)
        if not isinstance(url, str) or outgoing.url_problem(url) is not None:
            raise ProviderAway(f"its discovery document has no usable {name}")
        parts = urlsplit(url)
        is_issuer_local = self.client.issuer.startswith("http://")
        is_safe = parts.scheme == "https" or (is_issuer_local and parts.hostname in LOOPBACK)
        if not is_safe or parts.username is not None or parts.fragment:
            raise ProviderAway(f"the {name} of its discovery document is not as protected as RM_OIDC_ISSUER")
        return url
