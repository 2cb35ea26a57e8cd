"""Errors as people and programs see them: a page, a message in the page, or the contract's JSON."""

import logging
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from rm.errors import Invalid, RmError, TooMany
from rm.services.idempotency import InProgress
from rm.web.security import API_PATH, is_for_machines, same_site_path

log = logging.getLogger(__name__)

WORDS = {
    400: ("bad_request", "The request could not be understood", "Go back and try again."),
    401: ("unauthorised", "You are not signed in", "Sign in and try again."),
    403: ("forbidden", "Not allowed", "Ask an administrator if you need this."),
    404: ("not_found", "There is nothing here", "It may have been removed, or the address is mistyped."),
    405: ("method_not_allowed", "This address does not take that kind of request", "Start from the fleet page."),
    409: ("conflict", "That does not fit the present state", "Look at it again; something changed meanwhile."),
    410: ("gone", "This is over", "Start again from the fleet page."),
    413: ("too_large", "That is too large", "Nothing was changed. Go back and send less at once."),
    415: ("unsupported_media_type", "That kind of content is not understood", "Send a form or JSON."),
    422: ("invalid", "Some fields need another look", "Go back, correct them and send again."),
    429: ("too_many", "Too many attempts", "Wait a moment, then try again."),
    500: (
        "internal",
        "Something failed",
        "It was logged. Try again; if it stays, look for the reference in the server's log.",
    ),
    503: ("unavailable", "The server cannot do this just now", "Try again in a moment."),
}


def register(app: Flask) -> None:
    """Answer every error in the caller's language."""
    app.register_error_handler(RmError, on_named_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_bug)


def on_named_error(error: RmError) -> Response:
    if error.status >= 500 and error.code == "internal":
        return on_bug(error)
    fields = error.fields if isinstance(error, Invalid) else {}
    response = answer(error.status, error.code, error.message, error.help, fields=fields)
    if isinstance(error, (TooMany, InProgress)):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401 and request.path.startswith(API_PATH):
        said = ', error="invalid_token"' if error.code == "token_refused" else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="restic-manager"{said}'
    return response


def on_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return error.get_response()  # type: ignore[return-value]
    code, title, help = WORDS.get(status, WORDS[400 if status < 500 else 500])
    response = answer(status, code, f"{title}.", help)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def on_bug(error: Exception) -> Response:
    """Something that nobody foresaw: the log gets the traceback, the caller a reference to it and nothing else."""
    reference = secrets.token_hex(4)
    log.error("reference %s: %s %s failed", reference, request.method, request.path, exc_info=error)
    code, title, help = WORDS[500]
    return answer(500, code, f"{title}. Reference {reference}.", help, reference=reference)


def answer(
    status: int, code: str, message: str, help: str, *, fields: dict[str, str] | None = None, reference: str = ""
) -> Response:
    """One error as JSON, as a message for #flash, or as a page, whichever the caller can show."""
    title = WORDS.get(status, WORDS[500])[1]
    help = help or WORDS.get(status, WORDS[500])[2]
    if is_for_machines():
        said = {"code": code, "message": message, "help": help}
        response = jsonify(error=said | ({"fields": fields} if fields else {}))
    elif request.headers.get("HX-Request"):
        response = Response(render_template("shared/_flash.html", kind="failed", message=message, help=help))
        response.headers["HX-Retarget"] = "#flash"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Reselect"] = ".flash"
        response.headers["HX-Push-Url"] = "false"
    else:
        page = render_template(
            "errors/error.html",
            status=status, title=title, message=message, help=help, fields=fields or {}, reference=reference,
            back=came_from(),
        )  # fmt: skip
        response = Response(page)
    response.status_code = status
    return response


def came_from() -> str:
    """The page of this server that led here, as the browser tells it; empty when it is another's, or this very one."""
    parts = urlsplit(request.referrer or "")
    if f"{parts.scheme}://{parts.netloc}/" != request.host_url:
        return ""
    adapter = current_app.create_url_adapter(request)
    # the address of a form that was refused takes no question
    if parts.path in ("", "/") or adapter is None or not adapter.test(parts.path, "GET"):
        return ""
    is_here = request.method == "GET" and parts.path == request.path
    return "" if is_here else same_site_path(parts.path + (f"?{parts.query}" if parts.query else ""))
