"""What JSON looks like: small words for JSON Schema, and checking a value against it.

The same shapes are served in the OpenAPI document and checked at each request, so that they cannot drift apart.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Shape = dict[str, Any]

MAX_PROBLEMS = 10

COMPONENTS: dict[str, Shape] = {}
"""The shapes that have a name; filled by the modules of rm.api.schemas."""

ANY: Shape = {}
FLAG: Shape = {"type": "boolean"}
WHOLE: Shape = {"type": "integer"}
NUMBER: Shape = {"type": "number"}
TEXT: Shape = {"type": "string"}
ID: Shape = {"type": "string", "description": "An opaque id."}
INSTANT: Shape = {"type": "string", "format": "date-time"}
OFFSET: Shape = {"type": "integer", "minimum": 0, "maximum": 10**9}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,),
    "array": (list,), "null": (type(None),),
}  # fmt: skip


def text(most: int, *, least: int = 0, said: str = "") -> Shape:
    """A text of at most so many characters."""
    return {"type": "string", "maxLength": most} | ({"minLength": least} if least else {}) | _said(said)


def whole(least: int, most: int, *, said: str = "") -> Shape:
    return {"type": "integer", "minimum": least, "maximum": most} | _said(said)


def one_of(*words: str) -> Shape:
    return {"type": "string", "enum": list(words)}


def listed(item: Shape, *, most: int | None = None) -> Shape:
    return {"type": "array", "items": item} | ({"maxItems": most} if most is not None else {})


def nothing_or(shape: Shape) -> Shape:
    """The shape, or null."""
    if isinstance(shape.get("type"), str):
        found = shape | {"type": [shape["type"], "null"]}
        return found | ({"enum": [*shape["enum"], None]} if "enum" in shape else {})
    return {"anyOf": [shape, {"type": "null"}]}


def ref(name: str) -> Shape:
    """A shape by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(needed: str = "", /, *, closed: bool = False, said: str = "", **properties: Shape) -> Shape:
    """An object; `needed` names the properties that must be there, "*" all. Closed: it has no other ones."""
    required = list(properties) if needed == "*" else needed.split()
    found: Shape = {"type": "object", "properties": {_word(name): shape for name, shape in properties.items()}}
    if required:
        found["required"] = [_word(name) for name in required]
    return found | ({"additionalProperties": False} if closed else {}) | _said(said)


def mapping(shape: Shape) -> Shape:
    """An object whose properties all have this shape."""
    return {"type": "object", "additionalProperties": shape}


def page_of(name: str, *, cursor: Shape | None = None, **more: Shape) -> Shape:
    """A page of a list; `next` goes into the query for the next one, and is null at the end."""
    return record("items next", items=listed(ref(name)), next=nothing_or(cursor or WHOLE), **more)


def described(shape: Shape, said: str) -> Shape:
    return shape | {"description": said}


def problems(value: Any, shape: Shape, at: str = "body") -> dict[str, str]:
    """What is wrong with a value, by where; at most MAX_PROBLEMS."""
    found: dict[str, str] = {}
    for place, problem in _problems(value, shape, at, top=at):
        found.setdefault(place[:100], problem)
        if len(found) >= MAX_PROBLEMS:
            break
    return found


def _problems(value: Any, shape: Shape, at: str, *, top: str) -> Iterator[tuple[str, str]]:
    if "$ref" in shape:
        shape = COMPONENTS[shape["$ref"].rpartition("/")[2]]
    if "anyOf" in shape:
        if all(any(True for _ in _problems(value, option, at, top=top)) for option in shape["anyOf"]):
            yield at, "has none of the forms that it may have"
        return
    kinds = shape.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield at, f"must be {_words(kinds)}"
        return
    if "enum" in shape and value not in shape["enum"]:
        yield at, f"must be one of {', '.join(str(word) for word in shape['enum'] if word is not None)}"
    if isinstance(value, str):
        yield from _text_problems(value, shape, at)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = shape.get("minimum"), shape.get("maximum")
        if (least is not None and value < least) or (most is not None and value > most):
            yield at, f"must be from {least} to {most}"
    elif isinstance(value, list):
        # Told under the list's own name, which is what a form has a place for.
        if len(value) > shape.get("maxItems", len(value)):
            yield at, f"must have at most {shape['maxItems']} items"
        elif "items" in shape:
            for number, item in enumerate(value, 1):
                for place, problem in _problems(item, shape["items"], "", top=""):
                    yield at, f"item {number}: {place} {problem}".replace(":  ", ": ")
    elif isinstance(value, dict):
        yield from _record_problems(value, shape, at, top=top)


def _record_problems(value: Mapping[str, Any], shape: Shape, at: str, *, top: str) -> Iterator[tuple[str, str]]:
    prefix = "" if at == top else f"{at}."
    known, others = shape.get("properties", {}), shape.get("additionalProperties", True)
    for name in shape.get("required", ()):
        if name not in value:
            yield f"{prefix}{name}", "must be there"
    for name, item in value.items():
        place = f"{prefix}{name}"
        if name in known:
            yield from _problems(item, known[name], place, top=top)
        elif others is False:
            yield place, "is not known here"
        elif isinstance(others, dict):
            yield from _problems(item, others, place, top=top)


def _text_problems(value: str, shape: Shape, at: str) -> Iterator[tuple[str, str]]:
    if len(value) > shape.get("maxLength", len(value)):
        yield at, f"must have at most {shape['maxLength']} characters"
    if len(value) < shape.get("minLength", 0):
        yield at, f"must have at least {shape['minLength']} characters"
    if "pattern" in shape and not re.search(shape["pattern"], value):
        yield at, "has a form that is not taken"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return False
    return isinstance(value, _TYPES[kind])


def _words(kinds: list[str]) -> str:
    words = {
        "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
        "object": "an object", "array": "a list", "null": "null",
    }  # fmt: skip
    return " or ".join(words[kind] for kind in kinds)


def _said(said: str) -> Shape:
    return {"description": said} if said else {}


def _word(name: str) -> str:
    """A property's name; Python's own words carry an underscore."""
    return name.rstrip("_")
