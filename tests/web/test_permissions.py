"""Who may call which route: every route, every role, every method."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from rm.domain import permissions
from rm.domain.actors import Actor
from rm.events import EventBus
from rm.store.models import Job
from rm.store.vault import Vault
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import SAME_ORIGIN, Browser

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def values(bus: EventBus, vault: Vault, web1: EnrolledHost) -> dict[str, str]:
    """What the placeholders of routes stand for."""
    group_id = cast.give_repository(bus, vault, web1)
    job = Job.create(
        id="01J00000000000000000000000", host=web1.id, kind="backup", state="queued", created_at=cast.NOW,
        expires_at=cast.NOW,
    )  # fmt: skip
    repository_id = cast.host_row(web1).repository_id
    return {
        "repository_id": repository_id, "host_id": web1.id, "group_id": group_id, "job_id": job.id,
        "token_id": "none", "number": "0", "filename": "css/base.css",
    }  # fmt: skip


def routes(app: Flask, values: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(endpoint, method, path) of everything the server answers."""
    for rule in app.url_map.iter_rules():
        if rule.websocket:
            yield rule.endpoint, "GET", rule.rule
            continue
        adapter = app.url_map.bind("localhost")
        path = adapter.build(rule.endpoint, {name: values.get(name, "x") for name in rule.arguments}, method=None)
        for method in sorted(rule.methods or set()):
            # two views may share an address; for OPTIONS the first one answers
            endpoint = adapter.match(path, method=method)[0]
            yield endpoint, method, path


def test_every_route_says_who_may_call_it(app: Flask) -> None:
    undeclared = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if permissions.declared(app.view_functions[rule.endpoint]) is None
    ]

    assert undeclared == []


@pytest.mark.parametrize("person", [*cast.PEOPLE, None], ids=lambda person: person.name if person else "nobody")
def test_each_role_is_refused_what_its_role_does_not_have(
    app: Flask, values: dict[str, str], browser_of: Callable[[Actor], Browser], person: Actor | None
) -> None:
    wrong = []
    for endpoint, method, path in routes(app, values):
        permission = permissions.declared(app.view_functions[endpoint]) or ""
        if permission in (permissions.PUBLIC, permissions.AGENT):
            continue
        if permissions.is_allowed(person.role if person else None, permission):
            continue
        client = browser_of(person).client if person else app.test_client()
        answer = client.open(path, method=method, headers=SAME_ORIGIN)
        signed_out = person is None and (
            answer.status_code == 401 or (answer.status_code == 303 and answer.headers["Location"].startswith("/login"))
        )
        if answer.status_code != 403 and not signed_out:
            wrong.append((method, path, answer.status_code))

    assert wrong == []


@pytest.mark.parametrize("person", cast.PEOPLE, ids=lambda person: person.name)
def test_each_role_may_look_at_what_its_role_has(
    app: Flask, values: dict[str, str], browser_of: Callable[[Actor], Browser], person: Actor
) -> None:
    browser = browser_of(person)
    wrong = []
    for endpoint, method, path in routes(app, values):
        permission = permissions.declared(app.view_functions[endpoint]) or ""
        if method != "GET" or permission in (permissions.PUBLIC, permissions.AGENT):
            continue
        if permissions.is_allowed(person.role, permission):
            answer = browser.client.get(path)
            if answer.status_code not in (200, 303, 404):
                wrong.append((path, answer.status_code))
            answer.close()

    assert wrong == []


def test_changes_from_another_site_are_refused_on_every_route(
    app: Flask, values: dict[str, str], alice: Browser
) -> None:
    wrong = []
    for endpoint, method, path in routes(app, values):
        if method not in CHANGING or permissions.declared(app.view_functions[endpoint]) == permissions.AGENT:
            continue
        answer = alice.client.open(path, method=method, headers={"Sec-Fetch-Site": "cross-site"})
        if answer.status_code != 403:
            wrong.append((method, path, answer.status_code))

    assert wrong == []


def test_an_undeclared_route_fails_closed(app: Flask, alice: Browser) -> None:
    app.view_functions["hosts.index"] = lambda: "nobody declared me"

    assert alice.get("/").status == 500


def test_get_on_a_route_that_only_takes_post_is_refused(alice: Browser, values: dict[str, str]) -> None:
    answer = alice.get(f"/hosts/{values['host_id']}/repository/test")

    assert answer.status == 405
    assert "POST" in answer.response.headers["Allow"]
