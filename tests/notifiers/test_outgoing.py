"""Calls to addresses that a person typed."""

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rm.notifiers import outgoing
from tests.notifiers.servers import HttpServer, drips, free_port

METADATA = "169.254.169.254"


def resolves(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to these addresses, one list for each question, the last for all that follow."""
    asked: list[str] = []
    real = socket.getaddrinfo
    waiting = list(answers)

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *args, **options)
        asked.append(host)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [answer for address in found for answer in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_call_reaches_the_server_with_its_name_in_the_host_header(server: HttpServer) -> None:
    answer = outgoing.call("POST", f"http://localhost:{server.port}/in?x=1", body=b"hello", headers={"X-A": "b"})

    assert answer.status == 200
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/in?x=1", b"hello")
    assert request.headers["Host"] == f"localhost:{server.port}"
    assert request.headers["X-A"] == "b"


def test_user_and_password_of_the_url_go_into_a_header_and_not_into_the_path(server: HttpServer) -> None:
    outgoing.call("GET", f"http://u%40x:p%20w@127.0.0.1:{server.port}/")

    assert server.requests[0].headers["Authorization"] == "Basic dUB4OnAgdw=="
    assert server.requests[0].path == "/"


@pytest.mark.parametrize(
    "url",
    ["ftp://example.net/", "file:///etc/passwd", "gopher://example.net/", "//example.net/", "", "https://", "http://:80/",
     "http://example.net:0/", "http://exa mple.net/", "http://example.net/\r\nX-Evil: 1", "http://[fe80::1%25eth0]/",
     f"http://{METADATA}/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0/", "http://[::]:80/",
     "http://224.0.0.1/", "http://" + "a" * 2001],
)  # fmt: skip
def test_a_url_that_leads_nowhere_good_is_refused_before_anything_is_asked(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a connection was tried"))

    assert outgoing.url_problem(url) is not None
    with pytest.raises(outgoing.AddressRefused):
        outgoing.call("GET", url)


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376"])
def test_other_spellings_of_a_refused_address_are_refused_once_resolved(host: str) -> None:
    with pytest.raises(outgoing.CallFailed):
        outgoing.call("GET", f"http://{host}/", seconds=10)


def test_a_name_that_leads_to_a_refused_address_is_refused_even_beside_a_good_one(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves(monkeypatch, ["127.0.0.1", METADATA])

    with pytest.raises(outgoing.AddressRefused, match=r"rebinding\.example leads to 169\.254\.169\.254"):
        outgoing.call("GET", f"http://rebinding.example:{server.port}/")
    assert server.requests == []


def test_the_address_that_was_checked_is_the_one_that_is_called(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolves(monkeypatch, ["127.0.0.1"], [METADATA])

    answer = outgoing.call("GET", f"http://rebinding.example:{server.port}/")

    assert answer.status == 200
    assert asked == ["rebinding.example"], "a second question could have another answer"


def test_a_redirect_is_an_answer_and_its_target_is_never_contacted(
    server: HttpServer, other_server: HttpServer
) -> None:
    server.says(302, {"Location": f"{other_server.url}/stolen"})

    answer = outgoing.call("GET", f"{server.url}/")

    assert (answer.status, answer.headers["location"]) == (302, f"{other_server.url}/stolen")
    assert other_server.requests == []


def test_proxies_of_the_environment_are_not_used(
    server: HttpServer, other_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other_server.url)

    outgoing.call("GET", f"{server.url}/")

    assert (len(server.requests), len(other_server.requests)) == (1, 0)


def test_an_answer_that_drips_is_cut_off_at_the_limit(server: HttpServer) -> None:
    server.answer = drips(120)  # type: ignore[assignment]
    began = time.monotonic()

    with pytest.raises(outgoing.CallFailed, match="no complete answer within 1 s"):
        outgoing.call("GET", f"{server.url}/", seconds=1)

    assert time.monotonic() - began < 60


def test_a_server_that_takes_the_connection_and_says_nothing_is_left() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(outgoing.CallFailed, match="answer"):
            outgoing.call("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=1)


def test_a_huge_answer_is_refused_or_cut_but_never_held(server: HttpServer) -> None:
    server.says(200, body=b"x" * 5_000_000)

    with pytest.raises(outgoing.CallFailed, match="larger than 1000 bytes"):
        outgoing.call("GET", f"{server.url}/", most_bytes=1000)
    assert len(outgoing.call("GET", f"{server.url}/", most_bytes=1000, cuts=True).body) == 1000


def test_the_reason_of_a_failure_names_no_part_of_the_url_but_the_host() -> None:
    with pytest.raises(outgoing.CallFailed) as failed:
        outgoing.call("GET", f"http://user:hunter2@127.0.0.1:{free_port()}/secret-path?token=abc")

    assert failed.value.message == "the connection was refused"
    assert outgoing.shown("https://user:hunter2@hooks.example.net:8443/secret?token=abc") == (
        "https://hooks.example.net:8443/…"
    )


def test_what_speaks_no_http_is_said_to_be_that() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def talk() -> None:
            found, _ = listening.accept()
            with found:
                found.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(outgoing.CallFailed):
            outgoing.call("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=20)


@pytest.fixture
def tls_port(tmp_path: Path) -> Any:
    """A TLS server for the name rebinding.example, whose certificate the process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=rebinding.example", "-addext", "subjectAltName=DNS:rebinding.example", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                found, _ = listening.accept()
                with context.wrap_socket(found, server_side=True) as secure:
                    secure.recv(4096)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1], certificate, asked
    listening.close()


def test_tls_is_checked_against_the_name_of_the_url_though_an_address_is_called(
    tls_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, certificate, asked = tls_port
    resolves(monkeypatch, ["127.0.0.1"])

    with pytest.raises(outgoing.CallFailed, match="certificate was not accepted"):
        outgoing.call("GET", f"https://rebinding.example:{port}/", seconds=30)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    answer = outgoing.call("GET", f"https://rebinding.example:{port}/", seconds=30)
    with pytest.raises(outgoing.CallFailed, match="certificate was not accepted"):
        outgoing.call("GET", f"https://127.0.0.1:{port}/", seconds=30)

    assert answer.body == b"ok"
    assert "rebinding.example" in asked


def test_a_machines_certificates_are_read_once_for_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 50 ms, in which the event loop answers no agent; after ten minutes they are read anew."""
    read: list[object] = []
    monkeypatch.setattr(outgoing, "_contexts", {})
    monkeypatch.setattr(ssl, "create_default_context", lambda **options: read.append(options) or object())

    same = outgoing._trusting(None) is outgoing._trusting(None)
    other = outgoing._trusting(Path("/ca.pem"))
    monkeypatch.setattr(outgoing, "TRUST_SECONDS", -1.0)
    outgoing._trusting(None)

    assert same
    assert other is not None
    assert len(read) == 3
