"""The API's own document as a page: every operation, what it takes and what it answers."""

import json
from typing import Any

from flask import Blueprint, Response, current_app

from rm.domain.permissions import allows
from rm.web.layout import page

blueprint = Blueprint("api_page", __name__)

_REF = "#/components/schemas/"


@blueprint.get("/api")
@allows("account.view")
def index() -> Response:
    """The whole reference, by noun; it needs no script."""
    document = current_app.extensions["rm_openapi"]
    return page("api/reference.html", section="settings", info=document["info"], nouns=_nouns(), shapes=_shapes())


def _nouns() -> list[tuple[str, list[dict[str, Any]]]]:
    document = current_app.extensions["rm_openapi"]
    found: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append(_shown(path, method, operation))
    return sorted(found.items())


def _shown(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody")
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation["description"],
        "parameters": [
            {"name": one["name"], "place": one["in"], "type": words(one["schema"]), "said": one.get("description", "")}
            for one in operation["parameters"]
        ],
        "body": None if body is None else _content(body["content"]),
        "answers": [
            {"status": status, "said": answer["description"], "shape": _content(answer.get("content", {}))}
            for status, answer in operation["responses"].items()
        ],
    }


def _content(content: dict[str, Any]) -> dict[str, str] | None:
    """What a body or an answer is: its words, and the name of its shape if it has one."""
    for kind, one in content.items():
        schema = one["schema"]
        if kind != "application/json":
            return {"words": kind, "name": ""}
        return {"words": words(schema), "name": _name(schema)}
    return None


def _shapes() -> list[dict[str, Any]]:
    document = current_app.extensions["rm_openapi"]
    return [
        {
            "name": name, "said": shape.get("description", ""),
            "properties": [
                {
                    "name": key, "type": words(one), "shape": _name(one), "said": one.get("description", ""),
                    "is_needed": key in shape.get("required", ()),
                }
                for key, one in shape.get("properties", {}).items()
            ],
        }
        for name, shape in document["components"]["schemas"].items()
    ]  # fmt: skip


def words(shape: dict[str, Any]) -> str:
    """What a shape is, in a few words."""
    if "$ref" in shape:
        return str(shape["$ref"]).removeprefix(_REF)
    if "anyOf" in shape:
        return " or ".join(words(one) for one in shape["anyOf"])
    kinds = shape.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    said = " or ".join(
        f"list of {words(shape['items'])}" if one == "array" and "items" in shape else one for one in kinds
    )
    if "enum" in shape:
        said = " | ".join(json.dumps(one) for one in shape["enum"])
    if "items" in shape.get("properties", {}) and "next" in shape["properties"]:
        return f"page of {words(shape['properties']['items']['items'])}"
    limits = [f"at most {shape['maxLength']} characters"] if "maxLength" in shape else []
    if "minimum" in shape and "maximum" in shape:
        limits.append(f"{shape['minimum']} to {shape['maximum']}")
    return f"{said}, {', '.join(limits)}" if limits else said


def _name(shape: dict[str, Any]) -> str:
    """The name of the shape, of the items of a list, or of what may also be null; else empty."""
    if "$ref" in shape:
        return str(shape["$ref"]).removeprefix(_REF)
    inner = shape.get("items") or shape.get("properties", {}).get("items") or next(iter(shape.get("anyOf", [])), None)
    return _name(inner) if isinstance(inner, dict) else ""
