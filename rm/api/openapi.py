"""The OpenAPI 3.1 document, made of what the views declare, and served to programs."""

import re
from typing import Any

from flask import Blueprint, Flask, current_app
from werkzeug.routing import Rule

from rm.api import operations
from rm.api.operations import OPEN, Operation, operation
from rm.api.schemas import COMPONENTS
from rm.api.shapes import Shape, ref
from rm.domain import permissions
from rm.domain.permissions import PUBLIC, allows
from rm.services.idempotency import KEY_PATTERN, MAX_KEY

routes = Blueprint("api_openapi", __name__, url_prefix="/api/v1")

PREFIX = "/api/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_JSON = "application/json"
_PLACE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_ERRORS = {
    401: "Nobody is signed in, or the token is not good.",
    403: "The role, or the scope of the token, does not allow this.",
    404: "There is no such thing, or it is not in the scope of the token.",
    409: "It does not fit the present state; the code says why.",
    410: "It is over.",
    413: "The body is too large.",
    422: "Something in the request needs another look; fields says what.",
    429: "Too often; Retry-After says when to come back.",
    503: "The server cannot do this just now.",
}
_ABOUT = """Everything that the pages can do. Send a token as `Authorization: Bearer rmt_…`; the session of a signed-in
browser works too, from this server's own pages. Lists are `{items, next}`. An `Idempotency-Key` makes it safe to send
an order again."""


@routes.get("/openapi.json")
@allows(PUBLIC)
@operation({200: {"type": "object"}}, scope=OPEN)
def show() -> dict[str, Any]:
    """This document."""
    found: dict[str, Any] = current_app.extensions["rm_openapi"]
    return found


def register(app: Flask) -> None:
    """Make the document of all routes that are there now; raises RuntimeError for one that declares nothing."""
    app.extensions["rm_openapi"] = document(app)


def document(app: Flask) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if not rule.rule.startswith(f"{PREFIX}/"):
            continue
        view = app.view_functions[rule.endpoint]
        declared = operations.declared(view)
        if declared is None:
            raise RuntimeError(f"the route {rule.rule} of the API is not declared with @operation")
        permission = permissions.declared(view) or ""
        item = paths.setdefault(_PLACE.sub(r"{\1}", rule.rule), {})
        for method in METHODS:
            if method in (rule.methods or ()):
                item[method.lower()] = _operation(rule, method, declared, permission)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "restic-manager", "version": app.config.get("PRODUCT_VERSION", ""),
            "description": " ".join(_ABOUT.split()),
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(COMPONENTS.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token from Settings → Tokens."},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-rm_session",
                    "description": "The session of a signed-in browser, for this server's own pages.",
                },
            },
        },
    }  # fmt: skip


def _operation(rule: Rule, method: str, declared: Operation, permission: str) -> dict[str, Any]:
    is_public = permission == PUBLIC
    noun = rule.endpoint.partition(".")[0].removeprefix("api_")
    found: dict[str, Any] = {
        "operationId": rule.endpoint.removeprefix("api_").replace(".", "_"),
        "tags": [noun.replace("_", "-")],
        "summary": declared.summary,
        "parameters": _parameters(rule, method, declared),
        "responses": _responses(method, declared, is_public=is_public, has_path=bool(rule.arguments)),
        "security": [] if is_public else [{"token": []}, {"session": []}],
    }
    said = [declared.description] if declared.description else []
    if not is_public:
        found["x-permission"] = permission
        said.append(f"Needs the role {permissions.PERMISSIONS[permission]}.")
    if declared.is_for_people:
        said.append("Only with a session, not with a token.")
        found["security"] = [{"session": []}]
    elif declared.scope == operations.WHOLE and not is_public:
        said.append("Not for tokens with tags.")
    found["description"] = " ".join(said)
    if declared.body is not None:
        found["requestBody"] = {"required": declared.is_body_needed, "content": {_JSON: {"schema": declared.body}}}
    return found


def _parameters(rule: Rule, method: str, declared: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACE.findall(rule.rule)
    ]
    found += [{"name": name, "in": "query", "schema": shape} for name, shape in declared.query.items()]
    if method == "POST":
        found.append(
            {
                "name": "Idempotency-Key", "in": "header",
                "description": "The same key with the same request gives the same answer, for 24 hours.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": f"^{KEY_PATTERN}$"},
            }
        )  # fmt: skip
    return found


def _responses(method: str, declared: Operation, *, is_public: bool, has_path: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, shape in declared.answers.items():
        found[str(status)] = {"description": "Done." if status != 202 else "Ordered."} | _content(shape)
    for status, said in _ERRORS.items():
        if (is_public and status in (401, 403)) or (status == 404 and not has_path and method == "GET"):
            continue
        found[str(status)] = {"description": said, "content": {_JSON: {"schema": ref("Error")}}}
    return found


def _content(shape: Shape | str) -> dict[str, Any]:
    if shape == "":
        return {}
    if isinstance(shape, str):
        return {"content": {shape: {"schema": {"type": "string"}}}}
    return {"content": {_JSON: {"schema": shape}}}
