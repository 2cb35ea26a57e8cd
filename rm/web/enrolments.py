"""Adding a host: a token, the line that carries it, and the page that waits."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import enrolments as service
from rm.store import enrolments, hosts
from rm.web import context, enrolment_view, security
from rm.web.layout import go, page

blueprint = Blueprint("enrolments", __name__)

TOKEN_COOKIE = "rm_new_token"
SHOWN_WITHIN_SECONDS = 120
MAX_SHOWN = 100


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
    return show_once(token.id, plain)


@blueprint.post("/hosts/add/<token_id>/revoke")
@allows("hosts.add")
def revoke(token_id: str) -> AnyResponse:
    """End a token before its time; the hosts that are in stay in."""
    service.revoke_token(runtime().bus, token_id=token_id, actor=context.actor(), now=context.now())
    return go("/hosts/add", "enrolment_token_revoked")


def show_once(token_id: str, plain: str) -> AnyResponse:
    """To the page that shows a fresh token, this once, and waits for the host."""
    path = f"/hosts/add/{token_id}"
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
    if token.host_id is not None:
        values |= {"host": hosts.get(token.host_id), "again_line": service.reenrol_command(base_url, plain)}
    response = page(
        "hosts/waiting.html" if token.host_id is None else "hosts/again.html",
        section="fleet", live_url=f"/live/enrolments/{token_id}",
        plain_token=bool(plain), **values,
        install_line=service.install_command(base_url=base_url, token=plain, again=token.host_id is not None),
    )  # fmt: skip
    if plain:
        response.delete_cookie(
            TOKEN_COOKIE, path=f"/hosts/add/{token_id}", httponly=True, samesite="Lax", secure=security.is_secure()
        )
    return response


def _form(tags: str, fields: dict[str, str], *, status: int = 200) -> Response:
    return page(
        "hosts/add.html", status=status, section="fleet", step=0, values={"tags": tags}, fields=fields,
        open_tokens=enrolments.list_open(context.now(), limit=MAX_SHOWN),
    )  # fmt: skip
