"""A signed-in program for each role, tokens, and a look at every answer: it must be as the document says."""

import dataclasses
import ipaddress

import pytest
from flask import request

from rm.api import operations, shapes
from rm.services import api_tokens
from rm.services import sign_in as signing_in
from tests import cast
from tests.cast import PASSWORD
from tests.updating import attempt, online, release

__all__ = ["attempt", "online", "release"]


@pytest.fixture
def open_to(parts):
    """open_to(token=…, cidr=…) sets who may read the metrics; each scrape reads anew."""
    parts.scrapes.fresh_seconds = 0

    def open_to(token="", cidr=()):
        networks = tuple(ipaddress.ip_network(one) for one in cidr)
        parts.settings = dataclasses.replace(parts.settings, metrics_token=token, metrics_trusted_cidr=networks)

    return open_to


@pytest.fixture
def sign_in(app, parts):
    """sign_in("bob") → a client with bob's session."""

    def sign_in(username):
        session = signing_in.log_in(
            parts.bus,
            username=username,
            password=PASSWORD,
            address="192.0.2.60",
            now=parts.clock(),
            limits=parts.limits,
            offload=lambda function, *args: function(*args),
        ).token
        client = app.test_client()
        client.set_cookie("rm_session", session)
        return client

    return sign_in


@pytest.fixture
def alice(sign_in):
    return sign_in("alice")


@pytest.fixture
def bob(sign_in):
    return sign_in("bob")


@pytest.fixture
def charlie(sign_in):
    return sign_in("charlie")


@pytest.fixture
def program(app, parts):
    """program("admin", "web") → a client with a fresh token of alice's for hosts with the tag web."""

    def program(role="admin", *tags, actor=cast.ALICE, days=90):
        _, plain = api_tokens.create(
            parts.bus, name=f"{role} program", role=role, tags=tags, days=days, actor=actor, now=parts.clock()
        )
        return bearer(app, plain)

    return program


def bearer(app, token):
    """A client that sends this token with each request."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture(autouse=True)
def as_declared(app):
    """Fails a test in which the API answered otherwise than its document says."""
    wrong = []

    @app.after_request
    def look(response):
        if request.path.startswith("/api/") and (problem := strange(app, response)):
            wrong.append((request.method, request.path, response.status_code, problem))
        return response

    yield
    assert wrong == []


def strange(app, response):
    """What is not declared in an answer of the API; empty if nothing is."""
    if response.status_code >= 400:
        return shapes.problems(response.json, shapes.ref("Error"), "answer")
    declared = operations.declared(app.view_functions[request.endpoint])
    if request.method == "OPTIONS" or response.status_code not in declared.answers:
        return {} if request.method == "OPTIONS" else {"answer": "has a status that is not declared"}
    shape = declared.answers[response.status_code]
    if isinstance(shape, str):
        return {} if response.mimetype == (shape or response.mimetype) else {"answer": f"is no {shape}"}
    return shapes.problems(response.json, shape, "answer")
