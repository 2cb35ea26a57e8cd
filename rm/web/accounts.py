"""Signing in and out, and the first account."""

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from rm.domain.permissions import PUBLIC, allows
from rm.errors import Gone, Invalid, TooMany, Unauthorised
from rm.runtime import runtime
from rm.services import first_run, general_settings, sessions, sign_in
from rm.services.sign_in import SignedIn
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
    """Sign in, and go where one was going; by way of the second factor where one is set."""
    parts = runtime()
    username, target = request.form.get("username", "").strip(), security.same_site_path(request.form.get("next"))
    try:
        done = sign_in.log_in(
            parts.bus, username=username, password=request.form.get("password", ""),
            address=request.remote_addr or "", user_agent=user_agent(), now=context.now(), limits=parts.limits,
            offload=parts.offload, replaces=security.session_token(),
        )  # fmt: skip
    except Unauthorised as error:
        return _form(username, target, error.message, status=401)
    except TooMany as error:
        return _later(_form(username, target, error.message, status=429), error)
    return let_in(done, target)


@blueprint.get("/login/code")
@allows(PUBLIC)
def ask_code() -> AnyResponse:
    """The form for the second factor, while the password counts as entered."""
    target = security.same_site_path(request.args.get("next"))
    try:
        sign_in.find_step(request.cookies.get(security.step_cookie(), ""), context.now())
    except Gone:
        return security.redirect_to(security.login_path(target))
    return page("accounts/code.html", next=target, error="")


@blueprint.post("/login/code")
@allows(PUBLIC)
def enter_code() -> AnyResponse:
    """Sign in with a code of the second factor, or a recovery code."""
    parts = runtime()
    target = security.same_site_path(request.form.get("next"))
    try:
        done = sign_in.enter_code(
            parts.bus, parts.vault, step_token=request.cookies.get(security.step_cookie(), ""),
            code=request.form.get("code", ""), address=request.remote_addr or "", user_agent=user_agent(),
            now=context.now(), limits=parts.limits,
        )  # fmt: skip
    except Unauthorised as error:
        return page("accounts/code.html", status=401, next=target, error=error.message)
    except TooMany as error:
        return _later(page("accounts/code.html", status=429, next=target, error=error.message), error)
    except Gone as error:
        response: AnyResponse = _form("", target, f"{error.message} {error.help}", status=401)
        security.clear_cookie(response, security.step_cookie())
        return response
    return let_in(done, target)


@blueprint.post("/logout")
@allows(PUBLIC)
def log_out() -> AnyResponse:
    """End the session, if there is one."""
    token = security.session_token()
    if token and context.user() is not None:
        sessions.log_out(runtime().bus, session_token=token, actor=context.actor(), now=context.now())
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
        _, token = first_run.create_first_admin(
            parts.bus, setup_token=request.cookies.get(security.setup_cookie(), ""), username=username,
            password=password, address=request.remote_addr or "", user_agent=user_agent(), now=context.now(),
            limits=parts.limits, offload=parts.offload,
        )  # fmt: skip
    except Invalid as error:
        return page("accounts/setup.html", status=422, values={"username": username}, fields=error.fields, error="")
    response = go("/", "welcome")
    keep_session(response, token)
    security.clear_cookie(response, security.setup_cookie())
    return response


def let_in(done: SignedIn, target: str) -> AnyResponse:
    """To where somebody was going with their session, or first to the second factor."""
    if done.waits_for_code:
        response = security.redirect_to(security.login_path(target, "/login/code"))
        lifetime = int(sign_in.STEP_LIFETIME.total_seconds())
        security.set_cookie(response, security.step_cookie(), done.token, max_age=lifetime)
        security.clear_cookie(response, security.session_cookie())
        return response
    response = security.redirect_to(target)
    keep_session(response, done.token)
    if security.step_cookie() in request.cookies:
        security.clear_cookie(response, security.step_cookie())
    return response


def keep_session(response: AnyResponse, token: str) -> None:
    """Give the browser its session, for as long as it lasts."""
    lifetime = int(general_settings.current().session_lifetime.total_seconds())
    security.set_cookie(response, security.session_cookie(), token, max_age=lifetime)


def user_agent() -> str:
    """What the browser says it is."""
    return request.headers.get("User-Agent", "")


def _check_setup_is_open() -> None:
    token = request.cookies.get(security.setup_cookie(), "")
    if not first_run.setup_is_open(token, context.now()):
        raise Gone(
            "This setup link was used, has expired, or was never one.",
            help="If there is an account, sign in. If there is none, restart the server: it prints a new link.",
        )


def _later(response: Response, error: TooMany) -> Response:
    response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _form(username: str, target: str, error: str = "", *, status: int = 200) -> Response:
    is_cookie_lost = security.is_secure() and request.scheme == "http"
    return page(
        "accounts/login.html", status=status, values={"username": username}, next=target, error=error,
        is_first_run=first_run.is_first_run(), is_cookie_lost=is_cookie_lost,
    )  # fmt: skip
