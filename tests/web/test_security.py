"""Cookies, headers, origins, proxies, and where signing in may lead."""

import ipaddress
from dataclasses import replace

import pytest
from flask import Flask

from rm.config import Settings
from rm.runtime import Runtime
from rm.web.proxies import TrustedProxies, client_address
from rm.web.security import same_site_path
from tests import cast
from tests.web.conftest import Browser

NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize("path", ["/", "/login", "/nope", "/api/v1/hosts", "/patterns", "/static/css/base.css"])
def test_every_answer_carries_the_strict_policy(alice: Browser, path: str) -> None:
    headers = alice.get(path).response.headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_signed_in_pages_are_not_stored_by_browsers(alice: Browser) -> None:
    assert alice.get("/").response.headers["Cache-Control"] == "no-store"


def test_a_static_file_with_its_hash_may_be_kept_for_good(alice: Browser) -> None:
    link = str(alice.get("/").find("link[rel=stylesheet]")["href"])

    assert "v=" in link
    assert "immutable" in alice.get(link).response.headers["Cache-Control"]
    assert alice.get(link.split("?")[0]).response.headers["Cache-Control"] == "no-cache"


def test_a_change_without_browser_headers_is_allowed_for_scripts(alice: Browser, web1: cast.EnrolledHost) -> None:
    answer = alice.client.post(f"/hosts/{web1.id}/settings", data={"name": "web-one", "tags": "", "mode": "always_on"})

    assert answer.status_code == 303
    assert cast.host_row(web1).name == "web-one"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_the_browsers_word_on_the_origin_decides(alice: Browser, headers: dict[str, str], status: int) -> None:
    assert alice.client.post("/hosts/add", data={}, headers=headers).status_code == status


def test_a_forged_login_from_another_site_is_refused(stranger: Browser) -> None:
    form = {"username": "alice", "password": cast.PASSWORD}

    answer = stranger.client.post("/login", data=form, headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/hosts/add?x=1", "/hosts/add?x=1"),
        (None, "/"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\..\\evil", "/"),
        ("/\tevil", "/"),
        ("/\n/evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_signing_in_leads_to_this_site_only(target: str | None, path: str) -> None:
    assert same_site_path(target) == path


def test_over_https_the_session_cookie_is_bound_to_this_host(app: Flask, parts: Runtime, stranger: Browser) -> None:
    parts.settings = replace(parts.settings, base_url="https://backup.example.net", cookie_secure=True)

    answer = stranger.post("/login", {"username": "alice", "password": cast.PASSWORD}, base_url="https://localhost")

    [cookie] = [one for one in answer.response.headers.getlist("Set-Cookie") if "rm_session" in one]
    assert cookie.startswith("__Host-rm_session=")
    for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie
    assert "Domain" not in cookie


def test_the_login_page_says_when_its_cookie_would_be_lost(parts: Runtime, stranger: Browser) -> None:
    parts.settings = replace(parts.settings, cookie_secure=True)

    assert "needs HTTPS" in stranger.get("/login").text(".flash--warning")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5, nonsense", "10.0.0.1"),
    ],
)
def test_the_nearest_address_outside_our_proxies_is_the_client(peer: str, forwarded_for: str, client: str) -> None:
    assert client_address(peer, forwarded_for, NETWORKS) == client


@pytest.mark.parametrize(
    ("peer", "expected"), [("10.1.2.3", ("203.0.113.5", "https")), ("203.0.113.9", ("203.0.113.9", "http"))]
)
def test_forwarded_headers_count_only_from_trusted_proxies(peer: str, expected: tuple[str, str]) -> None:
    environ = {
        "REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_X_FORWARDED_FOR": "203.0.113.5",
        "HTTP_X_FORWARDED_PROTO": "https",
    }  # fmt: skip

    TrustedProxies(lambda environ, start: [], NETWORKS)(environ, lambda *_: None)

    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == expected


def test_nobody_is_trusted_unless_the_settings_say_so() -> None:
    assert Settings().trusted_proxy == ()
