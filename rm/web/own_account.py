"""One's own account: password, sessions."""

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, TooMany
from rm.runtime import runtime
from rm.services import password_changes, sessions, tokens
from rm.store import api_tokens
from rm.store import sessions as stored_sessions
from rm.store import users as stored
from rm.web import accounts, context, security, user_view
from rm.web.layout import go, page

blueprint = Blueprint("own_account", __name__)

PAGE = "/settings/account"


@blueprint.get(PAGE)
@allows("account.view")
def show() -> Response:
    """Who am I, where am I signed in."""
    return account_page()


@blueprint.post(f"{PAGE}/password")
@allows("account.edit")
def change_password() -> AnyResponse:
    """Keep another password; every other session ends."""
    parts, form = runtime(), request.form
    try:
        if form.get("password_again", form.get("password", "")) != form.get("password", ""):
            raise Invalid({"password_again": "The two passwords differ."})
        token = password_changes.change_own(
            parts.bus, session_token=security.session_token(), current=form.get("current", ""),
            new=form.get("password", ""), actor=context.actor(), user_agent=accounts.user_agent(), now=context.now(),
            limits=parts.limits, offload=parts.offload, revokes_tokens=form.get("revoke_tokens") == "yes",
        )  # fmt: skip
    except (Invalid, Conflict, TooMany) as error:
        return refused(error, "current")
    response = go(PAGE, "password_changed")
    accounts.keep_session(response, token)
    return response


@blueprint.post(f"{PAGE}/sessions/<session_id>/revoke")
@allows("account.edit")
def revoke_session(session_id: str) -> AnyResponse:
    """End one session of mine; the present one too."""
    actor = context.actor()
    sessions.revoke(runtime().bus, user_id=actor.id, session_id=session_id, actor=actor, now=context.now())
    return go(PAGE, "session_revoked")


@blueprint.post(f"{PAGE}/sessions/revoke-others")
@allows("account.edit")
def revoke_others() -> AnyResponse:
    """End all sessions of mine but this one."""
    actor = context.actor()
    sessions.revoke_others(
        runtime().bus, user=stored.get(actor.id), session_token=security.session_token(), actor=actor,
        now=context.now(),
    )  # fmt: skip
    return go(PAGE, "sessions_revoked")


def account_page(*, fields: dict[str, str] | None = None, status: int = 200, **more: Any) -> Response:
    """The page of one's account; `fields` is what is wrong with what was entered."""
    person = stored.get(context.actor().id)
    present = tokens.hashed(security.session_token())
    return page(
        "users/account.html", status=status, section="settings", person=person,
        row=user_view.UserRow(user=person, link=None, is_self=True), fields=fields or {},
        sessions=user_view.session_rows(
            stored_sessions.list_of_user(person.id, context.now()), present_hash=present
        ),
        codes_left=stored.count_recovery_codes(person.id),
        token_count=api_tokens.count_good(person.id, context.now()), **more,
    )  # fmt: skip


def refused(error: Invalid | Conflict | TooMany, field: str) -> Response:
    """The page again, with the refusal beside what it is about."""
    fields = error.fields if isinstance(error, Invalid) else {field: f"{error.message} {error.help}".strip()}
    response = account_page(fields=fields, status=error.status)
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response
