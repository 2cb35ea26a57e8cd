"""The people of this server: who they are, adding them, what they may, and their leaving."""

from collections.abc import Callable

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Conflict, Invalid, RmError
from rm.runtime import runtime
from rm.services import second_factor, users
from rm.store import sessions as stored_sessions
from rm.store import user_links as stored_links
from rm.store import users as stored
from rm.store.models import User
from rm.web import context, security, user_view
from rm.web.layout import go, page
from rm.web.questions import Question
from rm.web.user_view import ROLE_CHOICES

blueprint = Blueprint("users", __name__)

LINK_COOKIE = "rm_new_link"
SHOWN_WITHIN_SECONDS = 120


@blueprint.get("/settings/users")
@allows("users.manage")
def index() -> Response:
    """Everybody, and a form to add somebody."""
    return _list({"username": "", "role": "operator"}, {})


@blueprint.post("/settings/users")
@allows("users.manage")
def add() -> AnyResponse:
    """Add a person and go to their page, which shows their link once."""
    values = {"username": request.form.get("username", "").strip(), "role": request.form.get("role", "")}
    try:
        user, token = users.invite(runtime().bus, actor=context.actor(), now=context.now(), **values)
    except Invalid as error:
        return _list(values, error.fields, status=422)
    except Conflict as error:
        return _list(values, {"username": error.message}, status=409)
    return _show_once(user.id, token)


@blueprint.get("/settings/users/<user_id>")
@allows("users.manage")
def show(user_id: str) -> Response:
    """One person; their link, if it was made a moment ago."""
    response = _person(user_id, plain=request.cookies.get(LINK_COOKIE, ""))
    if LINK_COOKIE in request.cookies:
        response.delete_cookie(
            LINK_COOKIE, path=f"/settings/users/{user_id}", httponly=True, samesite="Lax", secure=security.is_secure()
        )
    return response


@blueprint.post("/settings/users/<user_id>/role")
@allows("users.manage")
def set_role(user_id: str) -> AnyResponse:
    """Give the person another role."""
    role, typed = request.form.get("role", ""), request.form.get("typed_name", "")
    try:
        users.set_role(
            runtime().bus, user_id=user_id, role=role, typed_name=typed, actor=context.actor(), now=context.now()
        )
    except Invalid as error:
        return _person(user_id, fields=error.fields, role=role, status=422)
    except Conflict as error:
        return _person(user_id, fields={"role": _whole(error)}, role=role, status=409)
    is_own = user_id == context.actor().id
    return go("/settings" if is_own and role != "admin" else f"/settings/users/{user_id}", "role_set")


@blueprint.post("/settings/users/<user_id>/link")
@allows("users.manage")
def new_link(user_id: str) -> AnyResponse:
    """A fresh link to choose a password with; the one before ends."""
    try:
        token = users.new_link(runtime().bus, user_id=user_id, actor=context.actor(), now=context.now())
    except Conflict as error:
        return _person(user_id, problem=_whole(error), status=409)
    return _show_once(user_id, token)


@blueprint.post("/settings/users/<user_id>/link/withdraw")
@allows("users.manage")
def withdraw_link(user_id: str) -> AnyResponse:
    """End the open link."""
    users.withdraw_link(runtime().bus, user_id=user_id, actor=context.actor(), now=context.now())
    return go(f"/settings/users/{user_id}", "link_withdrawn")


@blueprint.get("/settings/users/<user_id>/disable")
@allows("users.manage")
def ask_disable(user_id: str) -> Response:
    """The question before disabling, for browsers without dialogs."""
    return _ask(_disable_question(stored.get(user_id)), user_id)


@blueprint.post("/settings/users/<user_id>/disable")
@allows("users.manage")
def disable(user_id: str) -> AnyResponse:
    """Let nobody in as this person any more."""
    return _do(
        user_id, _disable_question, "user_disabled", f"/settings/users/{user_id}",
        lambda: users.disable(
            runtime().bus, user_id=user_id, typed_name=request.form.get("typed_name", ""), actor=context.actor(),
            now=context.now(),
        ),
    )  # fmt: skip


@blueprint.post("/settings/users/<user_id>/enable")
@allows("users.manage")
def enable(user_id: str) -> AnyResponse:
    """Let the person in again."""
    users.enable(runtime().bus, user_id=user_id, actor=context.actor(), now=context.now())
    return go(f"/settings/users/{user_id}", "user_enabled")


@blueprint.get("/settings/users/<user_id>/remove")
@allows("users.manage")
def ask_remove(user_id: str) -> Response:
    """The question before removing, for browsers without dialogs."""
    return _ask(_remove_question(stored.get(user_id)), user_id)


@blueprint.post("/settings/users/<user_id>/remove")
@allows("users.manage")
def remove(user_id: str) -> AnyResponse:
    """Delete a person whose name was typed."""
    return _do(
        user_id, _remove_question, "user_removed", "/settings/users",
        lambda: users.remove(
            runtime().bus, user_id=user_id, typed_name=request.form.get("typed_name", ""), actor=context.actor(),
            now=context.now(),
        ),
    )  # fmt: skip


@blueprint.get("/settings/users/<user_id>/reset-second-factor")
@allows("users.manage")
def ask_reset_second_factor(user_id: str) -> Response:
    """The question before the second factor is taken away, for browsers without dialogs."""
    return _ask(_reset_question(stored.get(user_id)), user_id)


@blueprint.post("/settings/users/<user_id>/reset-second-factor")
@allows("users.manage")
def reset_second_factor(user_id: str) -> AnyResponse:
    """Take the second factor away from who lost it."""
    return _do(
        user_id, _reset_question, "second_factor_reset", f"/settings/users/{user_id}",
        lambda: second_factor.reset(
            runtime().bus, user_id=user_id, actor=context.actor(), now=context.now()
        ),
    )  # fmt: skip


def _do(
    user_id: str, question: Callable[[User], Question], flash: str, then: str, act: Callable[[], None]
) -> AnyResponse:
    user = stored.get(user_id)
    try:
        act()
    except Invalid as error:
        return _ask(question(user), user_id, fields=error.fields, status=422)
    except Conflict as error:
        return _person(user_id, problem=_whole(error), status=409)
    return go(then, flash)


def _ask(question: Question, user_id: str, *, fields: dict[str, str] | None = None, status: int = 200) -> Response:
    return question.asked_as_page(
        section="settings", back=f"/settings/users/{user_id}", fields=fields or {}, values={}, status=status
    )


def _disable_question(user: User) -> Question:
    own = _own(
        user, "This is your own account: you are signed out at once, and only another administrator lets you in."
    )
    return Question(
        "disable-user", f"Disable {user.username}", f"/settings/users/{user.id}/disable", "Disable",
        (*own, "Nobody can sign in with this account until it is enabled again.",
         "Its sessions end now, and pages that stand open close. An open link ends too.",
         "API tokens of this person stop working.", "The password and the second factor are kept."),
        typed=user.username if own else "",
    )  # fmt: skip


def _remove_question(user: User) -> Question:
    own = _own(user, "This is your own account: you are signed out at once and cannot come back.")
    if user.oidc_subject:
        own = (
            *_own(user, "This is your own account: you are signed out at once."),
            "While the sign-in provider gives this person a role, the next sign-in there makes a new account here. "
            "Take the role away there first, or disable the account instead.",
        )
    return Question(
        "remove-user", f"Remove {user.username}", f"/settings/users/{user.id}/remove", "Remove",
        (*own, "The account is deleted with its sessions, its second factor and its API tokens.",
         "What this person did stays in the audit log, under this name.",
         "To keep somebody out for a while, disable the account instead."),
        typed=user.username,
    )  # fmt: skip


def _reset_question(user: User) -> Question:
    return Question(
        "reset-second-factor", f"Take away the second factor of {user.username}",
        f"/settings/users/{user.id}/reset-second-factor", "Take it away",
        ("From then on the password alone signs in, until another second factor is set up.",
         "Be sure that it is this person who asks: call them back.", "Their sessions end now."),
    )  # fmt: skip


def _own(user: User, text: str) -> tuple[str, ...]:
    return (text,) if user.id == context.actor().id else ()


def _whole(error: RmError) -> str:
    return f"{error.message} {error.help}".strip()


def _show_once(user_id: str, token: str) -> AnyResponse:
    path = f"/settings/users/{user_id}"
    response = go(path)
    # A secret in an address would stay in histories and logs; this cookie is read once, on that page only.
    response.set_cookie(
        LINK_COOKIE, token, max_age=SHOWN_WITHIN_SECONDS, path=path, httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


def _list(values: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    own_id = context.actor().id
    rows = user_view.rows(stored.list_all(), stored_links.open_by_user(context.now()), own_id=own_id)
    return page(
        "users/list.html", status=status, section="settings", rows=rows, values=values, fields=fields,
        roles=ROLE_CHOICES,
    )  # fmt: skip


def _person(
    user_id: str, *, plain: str = "", fields: dict[str, str] | None = None, role: str = "", problem: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    person = stored.get(user_id)
    link = stored_links.open_of(user_id, context.now())
    row = user_view.UserRow(user=person, link=link, is_self=user_id == context.actor().id)
    shown = f"{runtime().settings.base_url}/choose-password?token={plain}" if plain and link else ""
    return page(
        "users/show.html", status=status, section="settings", row=row, link_shown=shown, fields=fields or {},
        role=role or person.role, roles=ROLE_CHOICES, problem=problem,
        sessions=len(stored_sessions.list_of_user(user_id, context.now())),
        codes_left=stored.count_recovery_codes(user_id),
        questions=(_disable_question(person), _remove_question(person), _reset_question(person)),
    )  # fmt: skip
