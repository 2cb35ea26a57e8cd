"""The tables of the sweep: every route, every name of a field that the code reads, and what is put into them."""

import re
from collections.abc import Iterator
from pathlib import Path

from flask import Flask

from rm.domain import permissions

ROOT = Path(__file__).parents[2]
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_READ = re.compile(r"""\b(?:form|args|values|fields)(?:\.get|\.getlist|\.getall)?[\[(]\s*["']([a-z_]+)["']""")
_INPUT = re.compile(r"""\bname=["']([a-z_]+)["']|m\.(?:field|area|select|check)\w*\(["']([a-z_]+)["']""")

# One text that would run in a careless query, template, page, header or format.
EVERYTHING = '\'; DROP TABLE hosts; --{{7*191}}${7*191}"><script id="pwned">x</script>%s%n\u202e'
PAYLOADS = {
    "everything": EVERYTHING,
    "header": "x\r\nSet-Cookie: pwned=1\r\n\r\n<script id=pwned>",
    "nul": "a\x00b",
    "half": "\ud800 half a character \udfff",
    "path": "../../../../etc/passwd",
    "number": "9" * 400,
    "minus": "-1",
    "empty": "",
    "long": "x" * 1_000_000,
}


def field_names() -> list[str]:
    """Every name that a view reads from a form or an address, or that a template sends."""
    found: set[str] = set()
    for file in (ROOT / "rm" / "web").glob("*.py"):
        found.update(_READ.findall(file.read_text()))
    for file in (ROOT / "templates").rglob("*.html"):
        for match in _INPUT.findall(file.read_text()):
            found.update(name for name in match if name)
    return sorted(found)


def routes(app: Flask, values: dict[str, str], methods: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(method, path) of every route for people and programs."""
    values = {"number": "0", "filename": "css/base.css"} | values
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        declared = permissions.declared(app.view_functions[rule.endpoint])
        if rule.websocket or declared == permissions.AGENT or rule.rule.startswith("/live/"):
            continue
        path = adapter.build(rule.endpoint, {name: values.get(name, "x") for name in rule.arguments}, method=None)
        for method in methods:
            if method in (rule.methods or set()):
                yield method, path


def property_names(document: dict[str, object]) -> list[str]:
    """Every name of a property in the OpenAPI document."""
    found: set[str] = set()

    def look(part: object) -> None:
        if isinstance(part, dict):
            properties = part.get("properties")
            if isinstance(properties, dict):
                found.update(str(name) for name in properties)
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look(document)
    return sorted(found)
