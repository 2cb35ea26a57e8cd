"""Signing in through the provider: a browser is sent there, comes back, and gets a session for the account it is."""

import hmac
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rm.config import Settings
from rm.domain.actors import SERVER, Actor
from rm.domain.limits import OIDC_PER_ADDRESS
from rm.domain.oidc import Identity, RoleValues, find_claim, role_of
from rm.domain.permissions import ROLES
from rm.errors import Conflict
from rm.events import AccessChanged, EventBus
from rm.services import api_tokens, audit, first_run, passwords, refusals, sessions, sign_in, tokens, users
from rm.services.oidc_client import CALLBACK, Client, Provider
from rm.services.oidc_refusals import ProviderAway, SignInRefused
from rm.services.passwords import Offload
from rm.services.sign_in import SignedIn
from rm.services.tries import Tries
from rm.store import oidc_logins as stored
from rm.store import users as stored_users
from rm.store.database import changes, publish_after_commit
from rm.store.models import OidcLogin, User
from rm.store.vault import Vault

log = logging.getLogger(__name__)

LOGIN_LIFETIME = timedelta(minutes=10)
MOST_LOGINS = 5000
MAX_PARAMETER = 4096
MAX_PATH = 1000

# A provider that hangs must not take the threads that a sign-in with a password needs.
_AT_ONCE = 3
_WAIT_SECONDS = 5.0
_turns = threading.BoundedSemaphore(_AT_ONCE)


@dataclass(frozen=True)
class Begun:
    """Where to send the browser, and the secret that it keeps in a cookie until it is back."""

    url: str
    browser_token: str


@dataclass(frozen=True)
class Answer:
    """The parameters with which a browser comes back, as they are."""

    state: str = ""
    code: str = ""
    error: str = ""
    issuer: str | None = None


@dataclass(frozen=True)
class Arrived:
    """Who signed in, and where they were going."""

    signed_in: SignedIn
    next_path: str


def make_provider(settings: Settings) -> Provider | None:
    """The provider that the settings name, None without one."""
    if not settings.has_oidc:
        return None
    roles = RoleValues(settings.oidc_role_admin, settings.oidc_role_operator, settings.oidc_role_viewer)
    # only here: see oidc_client
    from rm.services.oidc_provider import NetworkProvider

    return NetworkProvider(
        Client(
            issuer=settings.oidc_issuer, id=settings.oidc_client_id, secret=settings.oidc_client_secret,
            scopes=settings.oidc_scopes, role_claim=settings.oidc_role_claim, roles=roles,
            username_claim=settings.oidc_username_claim, label=settings.oidc_label,
            redirect_uri=settings.base_url + CALLBACK, ca_file=settings.oidc_ca_file,
        )
    )  # fmt: skip


def begin(
    vault: Vault, provider: Provider, *, next_path: str, address: str, now: datetime, limits: Tries, offload: Offload
) -> Begun:
    """A sign-in that began; raises SignInRefused (of which ProviderAway is one) or TooMany."""
    limits.take("oidc.address", address, OIDC_PER_ADDRESS, now)
    state, browser, nonce = tokens.make("rmo"), tokens.make("rmb"), secrets.token_urlsafe(32)
    verifier = secrets.token_urlsafe(48)
    try:
        if first_run.is_first_run():
            raise SignInRefused("not_set_up")
        url = _in_turn(offload, provider.authorization_url, state=state, nonce=nonce, verifier=verifier)
    except SignInRefused as error:
        _write_down(limits, None, error, address=address, now=now)
        raise
    state_hash = tokens.hashed(state)
    with changes():
        stored.delete_old(now, keep=MOST_LOGINS - 1)
        OidcLogin.create(
            state_hash=state_hash,
            browser_hash=tokens.hashed(browser),
            nonce=nonce,
            verifier_sealed=vault.seal(verifier, place=_place(state_hash)),
            next_path=next_path if len(next_path) <= MAX_PATH else "/",
            created_at=now,
            expires_at=now + LOGIN_LIFETIME,
        )
    return Begun(url=url, browser_token=browser)


def finish(
    bus: EventBus, vault: Vault, provider: Provider, *, answer: Answer, browser_token: str, address: str,
    user_agent: str, now: datetime, limits: Tries, offload: Offload, replaces: str = "",
) -> Arrived:  # fmt: skip
    """Who came back, signed in; raises SignInRefused or TooMany, and the refusal is in the audit then.

    `replaces` is the session that came with the request; it ends.
    """
    limits.take("oidc.address", address, OIDC_PER_ADDRESS, now)
    identity: Identity | None = None
    try:
        login, verifier = _take(vault, answer, browser_token, now)
        code = _code(provider, answer)
        identity = _in_turn(offload, provider.identify, code=code, verifier=verifier, nonce=login.nonce, now=now)
        signed_in = _admit(
            bus, provider.client, identity, address=address, user_agent=user_agent, now=now, replaces=replaces
        )
    except SignInRefused as error:
        _write_down(limits, identity, error, address=address, now=now)
        raise
    # Many people behind one address come to work at the same time: the way there and the way back.
    limits.give_back("oidc.address", address)
    limits.give_back("oidc.address", address)
    return Arrived(signed_in=signed_in, next_path=login.next_path)


def _take(vault: Vault, answer: Answer, browser_token: str, now: datetime) -> tuple[OidcLogin, str]:
    """The sign-in that this browser began, which ends here whatever comes of it, with its PKCE verifier."""
    if not answer.state or len(answer.state) > MAX_PARAMETER:
        raise SignInRefused("no_such_sign_in")
    with changes():
        login = stored.find(tokens.hashed(answer.state), now)
        if login is None:
            raise SignInRefused("no_such_sign_in")
        # Another browser does not end it: whoever knows only the address must not be able to.
        if not browser_token or not hmac.compare_digest(login.browser_hash, tokens.hashed(browser_token)):
            raise SignInRefused("other_browser")
        if not stored.take(login):
            raise SignInRefused("no_such_sign_in")
    return login, vault.unseal(login.verifier_sealed, place=_place(login.state_hash))


def _code(provider: Provider, answer: Answer) -> str:
    if answer.issuer is not None and answer.issuer != provider.client.issuer:
        raise SignInRefused("other_issuer")
    if answer.error:
        raise SignInRefused("denied", f"the provider answered {_word(answer.error)}")
    if not answer.code or len(answer.code) > MAX_PARAMETER:
        raise SignInRefused("not_an_answer")
    return answer.code


def _admit(
    bus: EventBus, client: Client, identity: Identity, *, address: str, user_agent: str, now: datetime, replaces: str
) -> SignedIn:
    role = role_of(identity.claims, client.role_claim, client.roles)
    with changes():
        user = stored.find_user(identity.issuer, identity.subject)
        if user is not None and (role is None or _is_stuck(user, role)):
            # The provider has spoken: what it gave before ends, though this sign-in is refused.
            sessions.end_all(bus, user_id=user.id)
            if role is None:
                api_tokens.revoke_all(user_id=user.id, actor=SERVER, now=now)
            refused = "no_role" if role is None else "last_admin"
        elif role is None:
            refused = "no_role"
        elif user is not None and not user.is_enabled:
            refused = "disabled"
        else:
            user = _with_role(bus, user, role, now) if user is not None else _create(client, identity, role, now)
            return sign_in.admit(
                user, method="oidc", address=address, user_agent=user_agent, now=now, replaces=replaces
            )
    raise SignInRefused(refused)


def _is_stuck(user: User, role: str) -> bool:
    """Whether this role would leave nobody to administer."""
    if role == "admin":
        return False
    try:
        users.refuse_without_admin(user)
    except Conflict:
        return True
    return False


def _with_role(bus: EventBus, user: User, role: str, now: datetime) -> User:
    """The user with the role that the provider gives now; who gets more signs in anew everywhere."""
    before = user.role
    if role == before:
        return user
    User.update(role=role).where(User.id == user.id).execute()
    audit.record(
        SERVER, "user.role_set", now=now, kind="user", id=user.id, name=user.username, before=before, after=role,
        by="the provider",
    )  # fmt: skip
    if ROLES.index(role) > ROLES.index(before):
        sessions.end_all(bus, user_id=user.id)
    publish_after_commit(bus, AccessChanged(user.id))
    return stored_users.get(user.id)


def _create(client: Client, identity: Identity, role: str, now: datetime) -> User:
    name = find_claim(identity.claims, client.username_claim)
    if not isinstance(name, str) or passwords.check_username(name):
        raise SignInRefused("bad_name", f"RM_OIDC_USERNAME_CLAIM gave {str(name)[:100]!r}")
    if stored_users.count() >= users.MOST_USERS:
        raise SignInRefused("too_many_users")
    # Not joined by name: names change hands at a provider, and local names are not its to give.
    if stored_users.find_by_name(name) is not None:
        raise SignInRefused("name_taken")
    user = users.create_row(username=name, role=role, password_hash="", by=client.label, now=now)
    User.update(oidc_issuer=identity.issuer, oidc_subject=identity.subject).where(User.id == user.id).execute()
    audit.record(
        SERVER, "user.created", now=now, kind="user", id=user.id, name=user.username, role=role, by="the provider"
    )
    return stored_users.get(user.id)


def _write_down(limits: Tries, identity: Identity | None, error: SignInRefused, *, address: str, now: datetime) -> None:
    """The refusal in the log and the audit; who it was only once the provider has proven it."""
    user = stored.find_user(identity.issuer, identity.subject) if identity else None
    subject = identity.subject if identity else ""
    level = logging.ERROR if isinstance(error, ProviderAway) else logging.WARNING
    log.log(level, "sign-in through the provider refused: %s %s", error.reason, error.detail)
    actor = Actor(
        kind="user", name=user.username if user else "somebody at the provider", id=user.id if user else "",
        address=address,
    )  # fmt: skip
    payload: dict[str, str] = {"reason": error.reason} | ({"subject": subject} if subject else {})
    refusals.record(limits, actor, "user.oidc_refused", now=now, **payload)


def _in_turn(offload: Offload, function: Callable[..., Any], **given: Any) -> Any:
    def answer() -> tuple[Any, SignInRefused | None]:
        # As a value: what a thread of the pool raises is printed with its traceback, as if it were a bug.
        try:
            return function(**given), None
        except SignInRefused as error:
            return None, error

    if not _turns.acquire(timeout=_WAIT_SECONDS):
        raise ProviderAway("too many sign-ins wait for it already")
    try:
        found, refused = offload(answer)
    finally:
        _turns.release()
    if refused is not None:
        raise refused
    return found


def _word(text: str) -> str:
    """An error code of OAuth, or that it was none: anybody may write anything into an address."""
    return text if len(text) <= 60 and text.replace("_", "").isalnum() and text.isascii() else "something else"


def _place(state_hash: str) -> str:
    return f"oidc_logins.verifier:{state_hash}"
