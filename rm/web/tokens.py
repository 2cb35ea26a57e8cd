"""Settings → Tokens: what programs sign in with; each is shown once, on its own page."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import ROLES, allows
from rm.errors import Conflict, Invalid
from rm.runtime import runtime
from rm.services import api_tokens as service
from rm.store import api_tokens
from rm.store.models import ApiToken
from rm.web import context, security
from rm.web.layout import go, page

blueprint = Blueprint("tokens", __name__)

PATH = "/settings/tokens"
COOKIE = "rm_new_api_token"
SHOWN_WITHIN_SECONDS = 120
MAX_SHOWN = 500
ROLE_CHOICES = (
    ("viewer", "Viewer", "Reads everything, changes nothing. Right for dashboards and checks."),
    ("operator", "Operator", "Also runs jobs, restores into folders, adds hosts."),
    ("admin", "Admin", "Everything, except what only a person may do."),
)
DAYS = ((7, "7 days"), (30, "30 days"), (90, "90 days"), (180, "180 days"), (365, "a year"))
REVOKE_POINTS = (
    "Programs that use it are refused from now on.",
    "A revoked token cannot be brought back; make a new one.",
)


@blueprint.get(PATH)
@allows("tokens.own")
def index() -> Response:
    """One's own tokens, or for those who manage users everybody's; and a form to make one."""
    return _list({"name": "", "role": "viewer", "tags": "", "days": str(service.DEFAULT_DAYS)}, {})


@blueprint.post(PATH)
@allows("tokens.own")
def create() -> AnyResponse:
    """Make a token and go to its page, which shows it once."""
    values = {name: request.form.get(name, "") for name in ("name", "role", "tags", "days")}
    days = int(values["days"]) if values["days"].isdecimal() and len(values["days"]) < 6 else 0
    try:
        made, plain = service.create(
            runtime().bus, name=values["name"], role=values["role"], tags=tuple(values["tags"].split(",")), days=days,
            actor=context.actor(), now=context.now(),
        )  # fmt: skip
    except Invalid as error:
        return _list(values, error.fields, status=422)
    except Conflict as error:
        return _list(values, {"name": f"{error.message} {error.help}"}, status=409)
    response = security.redirect_to(f"{PATH}/{made.id}")
    # A secret in an address would stay in histories and logs; this cookie is read once, on that page only.
    response.set_cookie(
        COOKIE, plain, max_age=SHOWN_WITHIN_SECONDS, path=f"{PATH}/{made.id}", httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


@blueprint.get(f"{PATH}/<token_id>")
@allows("tokens.own")
def show(token_id: str) -> Response:
    """One token: what it may do and when it was used; its text, if it was made a moment ago."""
    found = service.get_visible(token_id, actor=context.actor())
    plain = request.cookies.get(COOKIE, "")
    response = page(
        "tokens/show.html", section="settings", row=_row(found), plain=plain, revoke_points=REVOKE_POINTS,
        curl_line=_curl_line(runtime().settings.base_url),
    )  # fmt: skip
    if plain:
        response.delete_cookie(
            COOKIE, path=f"{PATH}/{token_id}", httponly=True, samesite="Lax", secure=security.is_secure()
        )
    return response


@blueprint.get(f"{PATH}/<token_id>/revoke")
@allows("tokens.own")
def ask_revoke(token_id: str) -> AnyResponse:
    """The question before."""
    found = service.get_visible(token_id, actor=context.actor())
    return page(
        "shared/confirm.html", section="settings", title=f"Revoke the token {found.name}",
        action=f"{PATH}/{token_id}/revoke", verb="Revoke token", points=REVOKE_POINTS, typed="", error="",
        back=f"{PATH}/{token_id}",
    )  # fmt: skip


@blueprint.post(f"{PATH}/<token_id>/revoke")
@allows("tokens.own")
def revoke(token_id: str) -> AnyResponse:
    """End a token at once."""
    service.revoke(runtime().bus, token_id=token_id, actor=context.actor(), now=context.now())
    return go(PATH, "token_revoked")


def _list(values: dict[str, str], fields: dict[str, str], *, status: int = 200) -> Response:
    actor = context.actor()
    sees_all = context.may("users.manage")
    found = api_tokens.list_page(user_id=None if sees_all else actor.id, limit=MAX_SHOWN)
    rows = [_row(one) for one in found]
    return page(
        "tokens/list.html", status=status, section="settings",
        good=[row for row in rows if row["state"] == "good"], ended=[row for row in rows if row["state"] != "good"],
        sees_all=sees_all, values=values, fields=fields, days=[(str(number), word) for number, word in DAYS],
        roles=[choice for choice in ROLE_CHOICES if ROLES.index(choice[0]) <= ROLES.index(actor.role)],
    )  # fmt: skip


def _row(found: ApiToken) -> dict[str, object]:
    actor = context.actor()
    owner = api_tokens.names_of_owners().get(found.user_id or "")
    words = {"good": ("ok", "Good"), "expired": ("skip", "Expired"), "revoked": ("failed", "Revoked")}
    state = service.state(found, context.now())
    return {
        "token": found, "state": state, "look": words[state], "owner": owner, "is_own": found.user_id == actor.id,
        "role": dict((value, word) for value, word, _ in ROLE_CHOICES)[found.role],
    }  # fmt: skip


def _curl_line(base_url: str) -> str:
    return f'curl -H "Authorization: Bearer $RM_API_TOKEN" {base_url}/api/v1/me'
