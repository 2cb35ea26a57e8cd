"""What each route of the API is: declared beside its view, written into the OpenAPI document, and kept to.

A view that is declared cannot be called with what its declaration does not allow, by a token that is not for it, or
twice with one idempotency key; a route under /api/v1 that declares nothing stops the server from starting.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from flask import Response, current_app, make_response, request

from rm.api import caller, documents, shapes
from rm.api.shapes import Shape
from rm.errors import Invalid
from rm.runtime import runtime
from rm.services import idempotency, token_scope
from rm.services.idempotency import Answer

View = TypeVar("View", bound=Callable[..., Any])

BY_PATH = "path"
"""Everything that it shows or touches is named in its path or body, where it is checked."""

FILTERED = "filtered"
"""It shows only what is in the scope of the caller, and looks at that itself."""

OPEN = "open"
"""It concerns no host at all."""

WHOLE = "whole"
"""It concerns more than some hosts: tokens with tags are refused."""

TEXT_PLAIN = "text/plain"


@dataclass(frozen=True)
class Operation:
    """One route: what may be sent, what comes back, and for whom it is."""

    answers: Mapping[int, Shape | str]
    query: Mapping[str, Shape] = field(default_factory=dict)
    body: Shape | None = None
    is_body_needed: bool = False
    scope: str = WHOLE
    is_for_people: bool = False
    # It asks hosts or the network, or looks at much: an idempotency key must not hold a transaction meanwhile.
    waits: bool = False
    # A failure of it, of the server too, means that nothing was done: it only asks, or writes once, at its end.
    fails_clean: bool = False
    summary: str = ""
    description: str = ""


def operation(
    answers: Mapping[int, Shape | str],
    *,
    query: Mapping[str, Shape] | None = None,
    body: Shape | None = None,
    may_be_empty: bool = False,
    scope: str = WHOLE,
    people: bool = False,
    waits: bool = False,
    fails_clean: bool = False,
) -> Callable[[View], View]:
    """Declare a view. `answers` are its good answers by status: a shape, or the type of what is no JSON."""

    def declare(view: View) -> View:
        first, _, rest = (view.__doc__ or "").strip().partition("\n")
        declared = Operation(
            answers=answers, query=query or {}, body=body, is_body_needed=body is not None and not may_be_empty,
            scope=scope, is_for_people=people, waits=waits, fails_clean=fails_clean, summary=first.strip(),
            description=" ".join(rest.split()),
        )  # fmt: skip

        @wraps(view)
        def run(**path: Any) -> Any:
            return _run(declared, view, path)

        run.__dict__["__rm_operation__"] = declared
        return run  # type: ignore[return-value]

    return declare


def declared(view: object) -> Operation | None:
    """What a view was declared to be."""
    return getattr(view, "__rm_operation__", None)


def _run(declared: Operation, view: Callable[..., Any], path: dict[str, Any]) -> Any:
    if declared.is_for_people:
        caller.need_person()
    _keep_to_scope(declared, path, {})
    _check_query(declared)
    _keep_to_scope(declared, path, _body(declared))
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return view(**path)
    return _once(declared, key, lambda: make_response(view(**path)))


def _body(declared: Operation) -> dict[str, Any]:
    """The JSON object that was sent, as declared; raises Invalid."""
    if declared.body is None:
        return {}
    if not declared.is_body_needed and not request.get_data(cache=True):
        return {}
    found = documents.body()
    if wrong := shapes.problems(found, declared.body):
        raise _invalid(wrong)
    return found


def _check_query(declared: Operation) -> None:
    wrong: dict[str, str] = {}
    for name, shape in declared.query.items():
        given = request.args.get(name)
        if given is not None:
            wrong |= shapes.problems(_read(given, shape), shape, name)
    if wrong:
        raise _invalid(wrong)


def _read(given: str, shape: Shape) -> Any:
    if shape.get("type") != "integer":
        return given
    return int(given) if given.isascii() and given.isdigit() and len(given) < 20 else given


def _invalid(wrong: dict[str, str]) -> Invalid:
    name, problem = next(iter(wrong.items()))
    return Invalid(wrong, f"{name} {problem}.")


def _keep_to_scope(declared: Operation, path: dict[str, Any], body: dict[str, Any]) -> None:
    tags = caller.scope()
    if not tags or declared.scope == OPEN:
        return
    if declared.scope == WHOLE:
        raise token_scope.refuse()
    token_scope.check(tags, path, body, is_change=request.method != "GET", is_strict=declared.scope == BY_PATH)


def _once(declared: Operation, key: str, perform: Callable[[], Response]) -> Response:
    """The view's answer, or the one kept under this key, marked as such."""
    idempotency.check_key(key)
    parts, actor = runtime(), caller.actor()

    def answer() -> Answer:
        response = perform()
        return Answer(response.status_code, response.get_data(as_text=True))

    found = idempotency.carry_out(
        parts.vault,
        answer,
        owner=f"{actor.kind}:{actor.id}",
        key=key,
        request_hash=idempotency.fingerprint(
            request.method.encode(), request.full_path.encode(), request.get_data(cache=True)
        ),
        waits=declared.waits,
        fails_clean=declared.fails_clean,
        now=parts.clock(),
    )
    response: Response = current_app.response_class(found.text, status=found.status, mimetype="application/json")
    if found.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response
