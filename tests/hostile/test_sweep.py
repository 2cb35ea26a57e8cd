"""Every field of every route, filled with what would run, break out, or break: no crash, nothing run, all escaped."""

import pytest
from bs4 import BeautifulSoup

from rm.store.database import db
from rm.store.models import Host, Repository, User
from tests import cast
from tests.hostile.sweep import CHANGING, EVERYTHING, PAYLOADS, field_names, property_names, routes
from tests.web.conftest import SAME_ORIGIN

pytestmark = pytest.mark.timeout(600)

# They end what the sweep needs, or the session it uses.
LEFT_OUT = ("/logout", "/account/sessions", "/remove", "/users/alice")


@pytest.fixture
def values(bus, vault, web1):
    group = cast.give_repository(bus, vault, web1)
    return {
        "host_id": web1.id, "group_id": group, "repository_id": Repository.get().id, "user_id": "charlie",
        "username": "charlie", "filename": "css/base.css", "number": "0",
    }  # fmt: skip


@pytest.fixture
def crashes(caplog):
    """What the error page of a bug logged, with its request."""
    return lambda: [
        f"{record.getMessage()}: {record.exc_info[1]!r}" for record in caplog.records
        if record.name == "rm.web.errors" and record.exc_info
    ]  # fmt: skip


def is_left_out(path):
    return any(part in path for part in LEFT_OUT)


def headers_are_clean(answer):
    """Whether no value broke out of its header: one line each, and no cookie but ours."""
    cookies = answer.headers.getlist("Set-Cookie")
    return all("\r" not in value and "\n" not in value for _, value in answer.headers) and all(
        cookie.startswith("rm_") and "; pwned" not in cookie for cookie in cookies
    )


def is_crash(answer, path):
    """A page that failed; the health page says 503 here, because no background work runs."""
    return answer.status_code >= 500 and path != "/healthz"


def runs_nothing(answer):
    """Whether a page shows what was sent as text only."""
    if answer.mimetype != "text/html":
        return True
    text = answer.get_data(as_text=True)
    if "pwned" not in text and "1337" not in text:
        return True
    soup = BeautifulSoup(text, "html.parser")
    return not soup.select("#pwned, script:not([src])") and "1337" not in soup.get_text()


def database_stands():
    names = {name for (name,) in db.execute_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"hosts", "users", "audit_entries"} <= names and Host.select().exists() and User.select().count() >= 3


def test_the_tables_are_not_empty(app, values):
    assert len(field_names()) > 60
    assert len(list(routes(app, values, CHANGING))) > 60


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_every_form_field_of_every_route_takes_it_or_refuses_it(app, alice, values, crashes, payload):
    names = field_names()
    # A form may hold 2 MB in all: what is long goes into some fields of each route only.
    shown = payload.encode("utf-8", "surrogatepass")
    filled = {name: shown for name in (names if len(shown) < 10_000 else ["name", "reason"])}
    wrong = []
    for method, path in routes(app, values, CHANGING):
        if path.startswith("/api/") or is_left_out(path):
            continue
        answer = alice.client.open(path, method=method, data=filled, headers=SAME_ORIGIN)
        if is_crash(answer, path) or not runs_nothing(answer) or not headers_are_clean(answer):
            wrong.append((method, path, answer.status_code))

    assert (wrong, crashes()) == ([], [])
    assert database_stands()


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_every_parameter_of_every_page_takes_it_or_refuses_it(app, alice, values, crashes, payload):
    shown = payload if len(payload) < 10_000 else payload[:10_000]
    filled = {name: shown.encode("utf-8", "replace") for name in field_names()}
    if len(shown) > 1000:
        filled = {name: filled[name] for name in ("q", "next", "tag", "before") if name in filled}
    wrong = []
    for method, path in routes(app, values, ("GET",)):
        answer = alice.client.open(path, method=method, query_string=filled)
        if is_crash(answer, path) or not runs_nothing(answer) or not headers_are_clean(answer):
            wrong.append((method, path, answer.status_code))
        answer.close()

    assert (wrong, crashes()) == ([], [])


@pytest.mark.parametrize(
    "value",
    [EVERYTHING, "\ud800", "a\x00b", "x\r\nSet-Cookie: pwned=1", 2**80, -1, 1e308, True, None, [], [[]], {}, {"a": {}}],
    ids=str,
)
def test_every_property_of_every_call_takes_it_or_refuses_it(app, alice, values, crashes, value):
    names = property_names(alice.get("/api/v1/openapi.json").response.get_json())
    wrong = []
    for method, path in routes(app, values, CHANGING):
        # With the rights of an administrator, DELETE does what it says.
        if not path.startswith("/api/") or is_left_out(path) or method == "DELETE":
            continue
        for body in ({name: value for name in names}, value):
            answer = alice.client.open(path, method=method, json=body, headers=SAME_ORIGIN)
            if answer.status_code >= 500 or not headers_are_clean(answer):
                wrong.append((method, path, answer.status_code))

    assert len(names) > 20
    assert (wrong, crashes()) == ([], [])
    assert database_stands()


def test_forms_filled_rightly_but_for_one_field_keep_it_as_text(app, alice, values, crashes):
    """The forms that pages show, with what they hold, and one field after the other changed."""
    wrong, sent = [], 0
    for _, path in list(routes(app, values, ("GET",))):
        page = alice.get(path)
        for form in page.soup.select("form[method=post]"):
            action = form.get("action") or path
            if is_left_out(action):
                continue
            fields = form.select("input[name], textarea[name]")
            held = {field["name"]: field.get("value") or field.get_text() for field in fields}
            for field in fields:
                if field.get("type") in ("checkbox", "radio", "submit", "hidden"):
                    continue
                sent += 1
                answer = alice.post(action, held | {field["name"]: EVERYTHING[:100]})
                if answer.status >= 500 or not runs_nothing(answer.response):
                    wrong.append((action, field["name"], answer.status))
        page.response.close()

    assert sent > 20
    assert (wrong, crashes()) == ([], [])
    assert database_stands()
    for _, path in routes(app, values, ("GET",)):
        answer = alice.client.get(path)
        if is_crash(answer, path) or not runs_nothing(answer):
            wrong.append((path, answer.status_code))
        answer.close()
    assert wrong == []
