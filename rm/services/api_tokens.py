"""Tokens that programs sign in with: made, shown once, used within their bounds, revoked."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from rm.domain.actors import Actor
from rm.domain.limits import BAD_TOKENS_PER_ADDRESS
from rm.domain.permissions import ROLES, is_allowed
from rm.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorised, Unavailable
from rm.events import EventBus
from rm.services import audit, enrolments, refusals, tokens
from rm.services.tries import Tries
from rm.shared.ids import new_ulid
from rm.store import api_tokens
from rm.store.database import changes
from rm.store.models import ApiToken

log = logging.getLogger(__name__)

PREFIX = "rmt"
DEFAULT_DAYS = 90
MAX_DAYS = 365
MAX_NAME = 100
MAX_TOKENS = 100
NOTE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Program:
    """Who calls with a token: `role` is what it may do now, `tags` the hosts that it is for; without any, all."""

    token_id: str
    name: str
    role: str
    tags: tuple[str, ...]
    user_id: str | None

    def actor(self, address: str) -> Actor:
        """The program as services and the audit know it."""
        return Actor(kind="token", name=self.name, id=self.token_id, address=address, role=self.role)


def create(
    bus: EventBus, *, name: str, role: str, tags: tuple[str, ...], days: int | None, actor: Actor, now: datetime
) -> tuple[ApiToken, str]:
    """A token of whoever asks, and its text, which nobody sees again. Raises Invalid, or Conflict for too many.

    `days` None means that it never expires, which only the server's command line may ask for.
    """
    clean, tags = name.strip(), tuple(tag for tag in tags if tag.strip())
    is_server = actor.kind == "server"
    wrong = {}
    if not clean or len(clean) > MAX_NAME or not clean.isprintable():
        wrong["name"] = f"Use 1 to {MAX_NAME} printable characters; say what uses it."
    if role not in ROLES:
        wrong["role"] = f"Choose one of {', '.join(ROLES)}."
    elif not is_server and (actor.role not in ROLES or ROLES.index(role) > ROLES.index(actor.role)):
        wrong["role"] = f"A token can do no more than you: choose {actor.role} or less."
    if (days is None and not is_server) or (days is not None and not 1 <= days <= MAX_DAYS):
        wrong["days"] = f"Choose 1 to {MAX_DAYS} days."
    try:
        checked = tuple(enrolments.check_tags(tags))
    except Invalid as error:
        wrong |= error.fields
    if wrong:
        raise Invalid(wrong)
    if not is_server and actor.kind != "user":
        raise Forbidden("A token cannot make tokens.", code="person_needed", help="Sign in and make it there.")
    owner = None if is_server else actor.id
    plain = tokens.make(PREFIX)
    with changes():
        if api_tokens.count_good(owner, now) >= MAX_TOKENS:
            raise Conflict(
                f"There are {MAX_TOKENS} tokens already.", code="too_many_tokens", help="Revoke some that are not used."
            )
        made = ApiToken.create(
            id=new_ulid(), name=clean, token_hash=tokens.hashed(plain), role=role, tags=list(checked), user=owner,
            created_by=actor.name, created_at=now, expires_at=None if days is None else now + timedelta(days=days),
        )  # fmt: skip
        audit.record(
            actor, "token.created", now=now, kind="token", id=made.id, name=clean, role=role, tags=list(checked),
            days=days,
        )  # fmt: skip
    return made, plain


def state(token: ApiToken, now: datetime) -> str:
    """good, expired or revoked."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "good"


def get_visible(token_id: str, *, actor: Actor) -> ApiToken:
    """A token that this person may see and end: their own, or any for those who manage users. Raises NotFound."""
    found = api_tokens.get(token_id)
    if found.user_id != actor.id and not is_allowed(actor.role, "users.manage"):
        raise NotFound("There is no such token.")
    return found


def revoke(bus: EventBus, *, token_id: str, actor: Actor, now: datetime) -> ApiToken:
    """End a token at once; again: nothing changes. Raises NotFound for one that is not theirs to end."""
    with changes():
        found = get_visible(token_id, actor=actor)
        ended = ApiToken.update(revoked_at=now).where(ApiToken.id == token_id, ApiToken.revoked_at.is_null()).execute()
        if ended:
            audit.record(actor, "token.revoked", now=now, kind="token", id=token_id, name=found.name)
        return api_tokens.get(token_id)


def revoke_all(*, user_id: str, actor: Actor, now: datetime) -> int:
    """End all tokens of a person, each with an entry in the audit; how many ended. Needs an open transaction."""
    found = api_tokens.list_good(user_id, now)
    for token in found:
        ApiToken.update(revoked_at=now).where(ApiToken.id == token.id).execute()
        audit.record(actor, "token.revoked", now=now, kind="token", id=token.id, name=token.name)
    return len(found)


def authenticate(plain: str, *, address: str, limits: Tries, now: datetime) -> Program:
    """The program whose token this is, with what it may do now. Raises Unauthorised, or TooMany after many bad ones.

    A good token is never held up by the bad ones of a neighbour behind the same address.
    """
    found = api_tokens.find_good(tokens.hashed(plain), now) if plain.startswith(f"{PREFIX}_") else None
    if found is None:
        limits.take("token.address", address, BAD_TOKENS_PER_ADDRESS, now)
        _note_refusal(limits, address=address, now=now)
        raise Unauthorised(
            "This token is not known, has expired or was revoked.", code="token_refused",
            help="Make a new one under Settings → Tokens.",
        )  # fmt: skip
    token, owner = found
    role = token.role if owner is None else min(token.role, owner.role, key=ROLES.index)
    _note_use(token, address=address, now=now)
    return Program(token_id=token.id, name=token.name, role=role, tags=tuple(token.tags), user_id=token.user_id)


def _note_refusal(limits: Tries, *, address: str, now: datetime) -> None:
    actor = Actor(kind="token", name="unknown token", id="", address=address)
    try:
        refusals.record(limits, actor, "token.refused", now=now)
    except Unavailable:
        log.warning("a refused token could not be recorded")


def _note_use(token: ApiToken, *, address: str, now: datetime) -> None:
    if token.last_used_at is not None and now - token.last_used_at < NOTE_EVERY:
        return
    try:
        with changes():
            api_tokens.note_use(token.id, address=address, now=now, at_most_every=NOTE_EVERY)
    except Unavailable:  # a full disk must not keep programs from reading
        log.warning("the use of the token %s could not be noted", token.id)
