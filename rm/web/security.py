"""Who may call which route, from which origin, and what browsers may do with the answer."""

import logging
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from rm.config import Settings
from rm.domain import permissions
from rm.errors import Forbidden, RmError, Unauthorised
from rm.runtime import runtime
from rm.services import api_tokens, sessions
from rm.services.api_tokens import Program
from rm.store.database import connection
from rm.web import context

log = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
API_PATH = "/api/"
MAX_TOKEN = 200
MACHINE_PATHS = ("/api/", "/agent/", "/ws/", "/live/", "/healthz", "/metrics")

# Files whose address changes with their content.
VERSIONED = ("static", "assets.stylesheet", "assets.icons")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class UndeclaredRoute(RmError):
    """A view says nothing about who may call it; nobody may."""

    code = "undeclared_route"


def register(app: Flask) -> None:
    """Put the guard before every request and the headers on every answer."""
    if "static" in app.view_functions:
        permissions.allows(permissions.PUBLIC)(app.view_functions["static"])
    app.before_request(guard)
    app.after_request(set_headers)


def guard() -> AnyResponse | None:
    """Let a request through, or answer it: signed out, not allowed, from another site, or a route nobody declared."""
    g.user = g.program = g.session = None
    endpoint = request.endpoint
    if endpoint is None:  # no such page; the error page still shows who is signed in
        g.user = find_user()
        return None
    permission = permissions.declared(current_app.view_functions[endpoint])
    if permission is None:
        log.error("the route %s declares no permission", endpoint)
        raise UndeclaredRoute("This page is not declared; nobody may open it.")
    if permission == permissions.AGENT or endpoint in VERSIONED:
        return None
    token = bearer_token()
    if token is None:
        refuse_other_origins()
        g.user = find_user()
    elif permission != permissions.PUBLIC:
        # No browser sends this header by itself, so another site cannot use it.
        g.program = find_program(token)
    if permission == permissions.PUBLIC or context.may(permission):
        return None
    if g.user is None and g.program is None:
        return ask_to_sign_in()
    if g.program is not None:
        raise Forbidden(
            f"The role of this token, {g.program.role}, does not allow this.", help="Use a token with a higher role."
        )
    raise Forbidden(
        f"Your role, {g.user.role}, does not allow this.", help="Ask an administrator to do it or to change your role."
    )


def bearer_token() -> str | None:
    """The token that came with a request to the API; None without one, and for everything but the API."""
    if not request.path.startswith(API_PATH):
        return None
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip()[:MAX_TOKEN] if scheme.lower() == "bearer" else None


def find_program(token: str) -> Program:
    """The program whose token this is; raises Unauthorised, or TooMany."""
    with connection():
        return api_tokens.authenticate(
            token, address=request.remote_addr or "", limits=runtime().limits, now=context.now()
        )


def find_user() -> Any:
    """The user whose session cookie came with this request, if it is still good."""
    token = session_token()
    if not token:
        return None
    with connection():
        g.session = sessions.find(token, context.now())
        if g.session is None:
            return None
        # A page that stands open is no sign of a person.
        if not request.path.startswith("/live/"):
            sessions.note_seen(g.session, now=context.now())
        return g.session.user


def session_token() -> str:
    """The token that came with this request in the session's cookie; empty without one."""
    return request.cookies.get(session_cookie(), "")[:MAX_TOKEN]


def ask_to_sign_in() -> AnyResponse:
    if is_for_machines():
        raise Unauthorised("Sign in first.")
    target = request.full_path.rstrip("?") if request.method == "GET" else "/"
    location = login_path(target)
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": "/login"})
    return redirect(location, 303)


def login_path(target: str, path: str = "/login") -> str:
    """The page that signs in and then leads to a path of this site."""
    return path if target == "/" else f"{path}?next={quote(target, safe='/')}"


def refuse_other_origins() -> None:
    """Refuse changes that another site sends with our user's cookie; what comes from no browser has neither header."""
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none"):
        return
    origin = request.headers.get("Origin")
    if site is None and (origin is None or is_own_origin(origin)):
        return
    raise Forbidden(
        "This request came from another site and was refused.",
        code="cross_origin",
        help="Open restic-manager itself and try again. Behind a proxy, check that RM_BASE_URL is the address you use.",
    )


def is_own_origin(origin: str) -> bool:
    """Whether an Origin header names this server, by the address in use or by RM_BASE_URL."""
    return origin in (f"{request.scheme}://{request.host}", runtime().settings.base_url)


def is_for_machines() -> bool:
    """Whether the caller expects JSON, not a page."""
    return request.path.startswith(MACHINE_PATHS)


def same_site_path(target: str | None) -> str:
    """The path to go to after signing in; "/" for anything that could lead to another site."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if any(ord(char) < 33 or char == "\\" for char in target):
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc else target


def session_cookie() -> str:
    """The cookie's name; the __Host- prefix makes browsers insist on Secure, no Domain and the root path."""
    return _cookie("rm_session")


def setup_cookie() -> str:
    """The name of the cookie that carries the setup link's token from the link to the form."""
    return _cookie("rm_setup")


def link_cookie() -> str:
    """The name of the cookie that carries a person's link from its address to the form."""
    return _cookie("rm_link")


def step_cookie() -> str:
    """The name of the cookie of a sign-in that waits for its second factor."""
    return _cookie("rm_step")


def browser_cookie() -> str:
    """The name of the cookie that proves, back from the sign-in provider, that this browser went there."""
    return _cookie("rm_oidc")


def set_cookie(response: AnyResponse, name: str, value: str, *, max_age: int | None) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send with a form."""
    response.set_cookie(name, value, max_age=max_age, path="/", secure=is_secure(), httponly=True, samesite="Lax")


def redirect_to(path: str) -> AnyResponse:
    """Send the browser on with GET."""
    return redirect(path, 303)


def clear_cookie(response: AnyResponse, name: str) -> None:
    response.delete_cookie(name, path="/", secure=is_secure(), httponly=True, samesite="Lax")


def set_headers(response: Response) -> Response:
    """The headers of every answer; a view may have set its own Cache-Control."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint in VERSIONED:
        # the address changes with the content, so a browser may keep a versioned file for good
        fresh = "public, max-age=31536000, immutable" if request.query_string else "no-cache"
        response.headers["Cache-Control"] = fresh
    else:
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _cookie(name: str) -> str:
    return f"__Host-{name}" if is_secure() else name


def is_secure() -> bool:
    """Whether cookies go over HTTPS only."""
    settings: Settings = runtime().settings
    return bool(settings.cookie_secure)
