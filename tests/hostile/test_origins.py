"""Other sites, other hosts, other people's sessions: what a browser may be made to send, and where it may be led."""

import re

import pytest

from rm.domain import permissions
from rm.services import sessions
from tests import cast
from tests.hostile.sweep import CHANGING, routes
from tests.web.conftest import SAME_ORIGIN, Browser

AWAY = (
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "https:/evil.example", "https://evil.example", "HTTPS://evil.example", " //evil.example", "\t//evil.example",
    "/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "javascript:alert(1)", "data:text/html,x",
    "//evil.example%2f..", "evil.example", "//\u3002evil.example", "http:\\\\evil.example", "/\x00/evil.example",
    "@evil.example", "//localhost@evil.example",
)  # fmt: skip


def leads_away(location):
    """Whether a browser would leave this site: it drops tabs and line ends, and takes a backslash for a slash."""
    seen = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    return seen.startswith("//") or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", seen) is not None


def test_signing_in_never_leads_away(app):
    for target in AWAY:
        form = {"username": "alice", "password": cast.PASSWORD, "next": target}
        answer = Browser(app.test_client()).post("/login", form).response

        assert answer.status_code == 303, target
        assert not leads_away(answer.headers["Location"]), target


def test_the_sign_in_page_never_leads_away(alice, stranger):
    for target in AWAY:
        signed_in = alice.get("/login", query_string={"next": target}).response
        shown = stranger.get("/login", query_string={"next": target})

        assert not leads_away(signed_in.headers["Location"]), target
        assert all(not leads_away(field["value"]) for field in shown.soup.select("[name=next]")), target


def test_a_session_that_was_planted_before_signing_in_is_worth_nothing(app, stranger):
    stranger.client.set_cookie("rm_session", "rmu_planted-by-mallory", domain="localhost")

    stranger.post("/login", {"username": "alice", "password": cast.PASSWORD})

    assert stranger.client.get_cookie("rm_session").value != "rmu_planted-by-mallory"
    mallory = Browser(app.test_client())
    mallory.client.set_cookie("rm_session", "rmu_planted-by-mallory", domain="localhost")
    assert mallory.get("/").status == 303


def test_a_session_of_mallorys_that_was_planted_ends_when_alice_signs_in(app, stranger, browser_of):
    mallory = browser_of(cast.CHARLIE)
    token = mallory.client.get_cookie("rm_session").value
    stranger.client.set_cookie("rm_session", token, domain="localhost")

    stranger.post("/login", {"username": "alice", "password": cast.PASSWORD})

    assert sessions.find_user(token, cast.NOW) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8081"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_no_other_site_changes_anything_on_any_route(app, alice, headers):
    wrong = [
        (method, path)
        for method, path in routes(app, {}, CHANGING)
        if alice.client.open(path, method=method, headers=headers).status_code != 403
    ]

    assert wrong == []


def test_a_host_header_is_on_no_page_and_in_no_address(app, alice):
    evil = {"base_url": "http://evil.example"}
    for _, path in routes(app, {}, ("GET",)):
        answer = alice.client.get(path, headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
        assert "evil.example" not in answer.headers.get("Location", ""), path
        if answer.mimetype in ("text/html", "application/json", "text/plain", "text/x-shellscript"):
            assert "evil.example" not in answer.get_data(as_text=True), path
        answer.close()
    for path in ("/", "/login", "/setup?token=x", "/nowhere", "/hosts", "/choose-password?token=x"):
        answer = app.test_client().get(path, **evil)
        assert not leads_away(answer.headers.get("Location", "/")), path
        assert "evil.example" not in answer.get_data(as_text=True), path


def test_links_that_people_are_given_come_from_the_base_url(app, browser_of):
    client = browser_of(cast.ALICE).client
    session = client.get_cookie("rm_session").value
    client.set_cookie("rm_session", session, domain="evil.example")

    for path, data in (
        ("/settings/users", {"username": "dora", "role": "viewer"}),
        ("/enrolment-tokens", {}),
        ("/enrolment/tokens", {}),
    ):
        answer = client.post(path, data=data, headers=SAME_ORIGIN, base_url="http://evil.example")
        assert "evil.example" not in answer.get_data(as_text=True)
        assert not leads_away(answer.headers.get("Location", "/"))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost"])
def test_a_browser_gets_no_agents_socket_even_with_a_cookie(alice, app, origin):
    sockets = [rule for rule in app.url_map.iter_rules() if rule.websocket]
    assert sockets
    for rule in sockets:
        assert permissions.declared(app.view_functions[rule.endpoint]) == permissions.AGENT
        upgrade = {
            "Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        answer = alice.client.get(rule.rule, headers=upgrade)
        assert answer.status_code in (400, 401, 403), rule.rule


NAMES = (
    "../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "%00", "....//....//etc/passwd",
    "..\\..\\etc\\passwd", "/etc/passwd", "secret.key", "..%252f..%252fsecret.key", "restic-manager.db",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_part_of_any_address_leads_to_a_file(app, alice, name):
    for rule in app.url_map.iter_rules():
        if not rule.arguments or rule.websocket or "GET" not in (rule.methods or set()):
            continue
        path = re.sub(r"<[^>]+>", lambda _: name, rule.rule)
        answer = alice.client.get(path)
        assert answer.status_code < 500, path
        assert b"root:" not in answer.data, path
        assert b"SQLite format" not in answer.data, path
        answer.close()
