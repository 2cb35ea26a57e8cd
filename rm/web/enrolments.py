"""Adding a host: a token, the line that carries it, and the page that waits."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import enrolments as service
from rm.store import enrolments
from rm.web import context, enrolment_view, security
from rm.web.layout import page

blueprint = Blueprint("enrolments", __name__)

TOKEN_COOKIE = "rm_new_token"
SHOWN_WITHIN_SECONDS = 120


@blueprint.get("/hosts/add")
@allows("hosts.add")
def ask() -> Response:
    """What adding a host takes."""
    return _form("", {})


@blueprint.post("/hosts/add")
@allows("hosts.add")
def mint() -> AnyResponse:
    """Make a token and go to the page that shows it once and waits."""
    tags = request.form.get("tags", "")
    try:
        token, plain = service.mint_token(
            runtime().bus, actor=context.actor(), now=context.now(), tags=tuple(tags.split(","))
        )
    except Invalid as error:
        return _form(tags, error.fields, status=422)
    path = f"/hosts/add/{token.id}"
    response = security.redirect_to(path)
    # A secret in an address would stay in histories and logs; this cookie is read once, on that page only.
    response.set_cookie(
        TOKEN_COOKIE, plain, max_age=SHOWN_WITHIN_SECONDS, path=path, httponly=True, samesite="Lax",
        secure=security.is_secure(),
    )  # fmt: skip
    return response


@blueprint.get("/hosts/add/<token_id>")
@allows("hosts.add")
def wait(token_id: str) -> Response:
    """The line to run, if the token was made a moment ago, and whether the host is here."""
    token = enrolments.get_token(token_id)
    base_url = runtime().settings.base_url
    values = enrolment_view.values(token, base_url=base_url, now=context.now())
    plain = request.cookies.get(TOKEN_COOKIE, "")
    response = page(
        "hosts/waiting.html", section="fleet", live_url=f"/live/enrolments/{token_id}",
        plain_token=bool(plain), install_line=install_line(base_url, plain), **values,
    )  # fmt: skip
    if plain:
        response.delete_cookie(
            TOKEN_COOKIE, path=f"/hosts/add/{token_id}", httponly=True, samesite="Lax", secure=security.is_secure()
        )
    return response


def install_line(base_url: str, token: str) -> str:
    """The lines that fetch, enrol and start the agent; the token is in no argument list."""
    return "\n".join(
        (
            f"export RM_TOKEN={token}",
            "printf 'Authorization: Bearer %s' \"$RM_TOKEN\" |",
            f"  curl -fsSL -H @- -o rm-agent '{base_url}/agent/binary?os=linux&arch=any' &&",
            f"python3 rm-agent enroll --server {base_url} &&",
            "unset RM_TOKEN && python3 rm-agent run",
        )
    )


def _form(tags: str, fields: dict[str, str], *, status: int = 200) -> Response:
    return page("hosts/add.html", status=status, section="fleet", step=0, values={"tags": tags}, fields=fields)
