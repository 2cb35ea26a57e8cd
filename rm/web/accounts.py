"""Signing in and out, and the first account."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import PUBLIC, allows
from rm.errors import Gone, Invalid, TooMany, Unauthorised
from rm.runtime import runtime
from rm.services import accounts as service
from rm.web import context, security
from rm.web.layout import go, page

blueprint = Blueprint("accounts", __name__)

SETUP_SECONDS = 3600


@blueprint.get("/login")
@allows(PUBLIC)
def ask() -> AnyResponse:
    """The sign-in form; who is signed in already is sent on."""
    target = security.same_site_path(request.args.get("next"))
    if context.user() is not None:
        return security.redirect_to(target)
    return _form("", target)


@blueprint.post("/login")
@allows(PUBLIC)
def log_in() -> AnyResponse:
    """Sign in, and go where one was going."""
    parts = runtime()
    username, target = request.form.get("username", "").strip(), security.same_site_path(request.form.get("next"))
    try:
        token = service.log_in(
            parts.bus, username=username, password=request.form.get("password", ""),
            address=request.remote_addr or "", now=context.now(), limits=parts.limits, offload=parts.offload,
        )  # fmt: skip
    except Unauthorised as error:
        return _form(username, target, error.message, status=401)
    except TooMany as error:
        refusal = _form(username, target, error.message, status=429)
        refusal.headers["Retry-After"] = str(error.retry_after_seconds)
        return refusal
    response = security.redirect_to(target)
    _keep_session(response, token)
    return response


@blueprint.post("/logout")
@allows(PUBLIC)
def log_out() -> AnyResponse:
    """End the session, if there is one."""
    token = request.cookies.get(security.session_cookie())
    if token and context.user() is not None:
        service.log_out(runtime().bus, session_token=token, actor=context.actor(), now=context.now())
    response = go("/login", "signed_out")
    security.clear_cookie(response, security.session_cookie())
    return response


@blueprint.get("/setup")
@allows(PUBLIC)
def open_setup() -> AnyResponse:
    """Take the token out of the address into a cookie; then the form, while the link is open."""
    token = request.args.get("token")
    if token is not None:
        response = security.redirect_to("/setup")
        security.set_cookie(response, security.setup_cookie(), token[:200], max_age=SETUP_SECONDS)
        return response
    _check_setup_is_open()
    return page("accounts/setup.html", values={"username": ""}, fields={}, error="")


@blueprint.post("/setup")
@allows(PUBLIC)
def create_first() -> AnyResponse:
    """Make the first administrator and sign them in."""
    parts = runtime()
    _check_setup_is_open()
    username, password = request.form.get("username", "").strip(), request.form.get("password", "")
    try:
        # `password_again` is only there for people; scripts may leave it out.
        if request.form.get("password_again", password) != password:
            raise Invalid({"password_again": "The two passwords differ."})
        _, token = service.create_first_admin(
            parts.bus, setup_token=request.cookies.get(security.setup_cookie(), ""), username=username,
            password=password, address=request.remote_addr or "", now=context.now(), limits=parts.limits,
            offload=parts.offload,
        )  # fmt: skip
    except Invalid as error:
        return page("accounts/setup.html", status=422, values={"username": username}, fields=error.fields, error="")
    response = go("/", "welcome")
    _keep_session(response, token)
    security.clear_cookie(response, security.setup_cookie())
    return response


def _check_setup_is_open() -> None:
    token = request.cookies.get(security.setup_cookie(), "")
    if not service.setup_is_open(token, context.now()):
        raise Gone(
            "This setup link was used, has expired, or was never one.",
            help="If there is an account, sign in. If there is none, restart the server: it prints a new link.",
        )


def _keep_session(response: AnyResponse, token: str) -> None:
    lifetime = int(service.SESSION_LIFETIME.total_seconds())
    security.set_cookie(response, security.session_cookie(), token, max_age=lifetime)


def _form(username: str, target: str, error: str = "", *, status: int = 200) -> Response:
    is_cookie_lost = security.is_secure() and request.scheme == "http"
    return page(
        "accounts/login.html", status=status, values={"username": username}, next=target, error=error,
        is_first_run=service.is_first_run(), is_cookie_lost=is_cookie_lost,
    )  # fmt: skip
