"""The OpenAPI document: complete, true to the views, and shown as a page."""

import re

import pytest

from rm.api import operations, shapes
from rm.api.openapi import METHODS
from rm.domain import permissions


@pytest.fixture
def document(client):
    return client.get("/api/v1/openapi.json").json


def test_every_route_of_the_api_is_in_the_document_and_nothing_else(app, document):
    routes = {
        (method.lower(), re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")
        for method in rule.methods if method in METHODS
    }  # fmt: skip
    documented = {(method, path) for path, item in document["paths"].items() for method in item}

    assert documented == routes
    assert document["openapi"] == "3.1.0"


def test_a_route_that_declares_nothing_stops_the_server(app):
    from rm.api import openapi

    app.view_functions["api_hosts.index"] = permissions.allows("fleet.view")(lambda: {})

    with pytest.raises(RuntimeError, match="not declared"):
        openapi.document(app)


def test_each_operation_says_what_it_is_and_how_it_fails(document):
    wrong = []
    names = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            names.append(operation["operationId"])
            placeholders = set(re.findall(r"{(\w+)}", path))
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            good = [status for status in operation["responses"] if status < "300"]
            if not (operation["summary"] and in_path == placeholders and good and "422" in operation["responses"]):
                wrong.append((method, path))

    assert wrong == []
    assert len(names) == len(set(names))


def test_every_shape_that_is_named_is_there(document):
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert named <= set(document["components"]["schemas"])
    assert {"token", "session"} == set(document["components"]["securitySchemes"])


def test_what_the_document_forbids_the_view_never_sees(app, alice):
    """Types, lengths, limits, unknown fields where they are closed: checked from the same shapes."""
    cases = [
        ("/api/v1/enrolment-tokens", {"max_uses": "3"}, "max_uses"),
        ("/api/v1/enrolment-tokens", {"max_uses": True}, "max_uses"),
        ("/api/v1/enrolment-tokens", {"expires_in_seconds": 59}, "expires_in_seconds"),
        ("/api/v1/fleet-updates", {"failure_policy": {"budget": 1, "x": 2}}, "failure_policy"),
        ("/api/v1/fleet-updates", {"nonsense": 1}, "nonsense"),
        ("/api/v1/templates", {"name": "t", "groups": [{"name": 5}]}, "groups"),
    ]

    for path, body, field in cases:
        answer = alice.post(path, json=body)
        assert (answer.status_code, list(answer.json["error"]["fields"])) == (422, [field]), body


@pytest.mark.parametrize(
    ("value", "shape", "fits"),
    [
        (None, shapes.nothing_or(shapes.TEXT), True), (1, shapes.nothing_or(shapes.TEXT), False),
        (None, shapes.nothing_or(shapes.ref("Error")), True), (True, shapes.WHOLE, False), (1.5, shapes.WHOLE, False),
        (1.5, shapes.NUMBER, True), ("x", shapes.one_of("x", "y"), True), ("z", shapes.one_of("x", "y"), False),
        ([1, "a"], shapes.listed(shapes.WHOLE), False), ([1] * 3, shapes.listed(shapes.WHOLE, most=2), False),
        ({"a": 1}, shapes.record("*", a=shapes.WHOLE), True), ({}, shapes.record("*", a=shapes.WHOLE), False),
        ({"b": 1}, shapes.record(a=shapes.WHOLE), True), ({"b": 1}, shapes.record(closed=True, a=shapes.WHOLE), False),
        ({"b": 1}, shapes.mapping(shapes.TEXT), False), ("xyz", shapes.text(2), False), (5, shapes.whole(1, 4), False),
        ({"from": "x"}, shapes.record("*", from_=shapes.TEXT), True),
    ],
)  # fmt: skip
def test_shapes_are_checked(value, shape, fits):
    assert (shapes.problems(value, shape) == {}) is fits


def test_the_number_of_problems_is_bounded():
    assert len(shapes.problems({str(n): n for n in range(1000)}, shapes.record(closed=True))) == shapes.MAX_PROBLEMS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404), ("GET", "/api/nothing", 404), ("GET", "/api/", 404),
        ("POST", "/api/v1/hosts", 405), ("DELETE", "/api/v1/me", 405), ("GET", "/api/v1/jobs/x", 404),
    ],
)  # fmt: skip
def test_even_what_is_no_route_fails_in_the_one_shape(alice, method, path, status):
    answer = alice.open(path, method=method)

    assert answer.status_code == status
    assert shapes.problems(answer.json, shapes.ref("Error")) == {}
    assert ("Allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize("data", [b"{", b"[]", b"nothing", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_fails_in_the_one_shape(alice, data):
    answer = alice.post("/api/v1/templates", data=data, content_type="application/json")

    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid")


def test_a_body_that_is_too_large_fails_in_the_one_shape(alice):
    answer = alice.post("/api/v1/templates", data=b" " * (3 * 1024 * 1024), content_type="application/json")

    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")


def test_a_bug_fails_in_the_one_shape_and_says_nothing_of_itself(app, alice, monkeypatch):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.testing = False
    monkeypatch.setattr("rm.store.templates.list_all", lambda: 1 / 0)

    answer = alice.get("/api/v1/templates")

    assert (answer.status_code, answer.json["error"]["code"]) == (500, "internal")
    assert "ZeroDivision" not in answer.text


def test_each_declaration_knows_who_it_is_for(app):
    """A view that touches hosts says how it keeps to a token's scope; only what concerns no host is open."""
    open_ones = {
        rule.endpoint for rule in app.url_map.iter_rules()
        if (found := operations.declared(app.view_functions[rule.endpoint])) and found.scope == operations.OPEN
    }  # fmt: skip

    assert open_ones == {
        "api_openapi.show", "api_tokens.me", "api_releases.index", "api_releases.show", "api_templates.index",
        "api_announcing.announcing",
    }  # fmt: skip
