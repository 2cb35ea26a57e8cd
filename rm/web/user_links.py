"""The page behind a one-time link: a person chooses their password."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import PUBLIC, allows
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import user_links
from rm.web import accounts, context, security
from rm.web.layout import page

blueprint = Blueprint("user_links", __name__)

COOKIE_SECONDS = 3600


@blueprint.get("/choose-password")
@allows(PUBLIC)
def ask() -> AnyResponse:
    """Take the token out of the address into a cookie; then the form, while the link is open."""
    token = request.args.get("token")
    if token is not None:
        response = security.redirect_to("/choose-password")
        security.set_cookie(response, security.link_cookie(), token[:200], max_age=COOKIE_SECONDS)
        return response
    return _form({})


@blueprint.post("/choose-password")
@allows(PUBLIC)
def choose() -> AnyResponse:
    """Keep the password and sign the person in, by way of the second factor where one is set."""
    parts = runtime()
    password = request.form.get("password", "")
    try:
        if request.form.get("password_again", password) != password:
            raise Invalid({"password_again": "The two passwords differ."})
        done = user_links.choose_password(
            parts.bus, token=_token(), password=password, address=request.remote_addr or "",
            user_agent=accounts.user_agent(), now=context.now(), limits=parts.limits, offload=parts.offload,
            replaces=security.session_token(),
        )  # fmt: skip
    except Invalid as error:
        return _form(error.fields, status=422)
    response = accounts.let_in(done, "/")
    security.clear_cookie(response, security.link_cookie())
    return response


def _form(fields: dict[str, str], *, status: int = 200) -> Response:
    link = user_links.find(_token(), context.now())
    return page("accounts/choose_password.html", status=status, link=link, person=link.user, fields=fields)


def _token() -> str:
    return request.cookies.get(security.link_cookie(), "")
